//! One key: a public one to verify with, a private one to sign with (fabric.md 7.3, 8.1). Ed25519 only.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::core::catalog::Text;
use crate::wire::fabric::route::{ALGORITHM, Seal};

/// What a cluster's signatures are verified with. Bytes that are no point of the curve verify nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    bytes: [u8; 32],
    key: Option<VerifyingKey>,
}

/// What this node signs with.
#[derive(Clone)]
pub struct Signer {
    key: SigningKey,
    pub key_id: Text,
}

impl PublicKey {
    pub fn new(bytes: [u8; 32]) -> PublicKey {
        PublicKey { bytes, key: VerifyingKey::from_bytes(&bytes).ok() }
    }

    /// 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<PublicKey> {
        bytes(text).map(PublicKey::new)
    }

    /// 64 hexadecimal digits or PEM, as configured. The error says what is wrong.
    pub fn parse(text: &str) -> Result<PublicKey, String> {
        let text = text.trim();
        let key = match SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()) {
            Ok(der) => VerifyingKey::from_public_key_der(&der).ok().map(|key| PublicKey::new(key.to_bytes())),
            Err(_) => PublicKey::from_hex(text),
        };
        key.ok_or_else(|| "is no Ed25519 public key: 64 hexadecimal digits or PEM".into())
    }

    /// False for bytes that are no key of anybody: no signature fits them.
    pub fn is_usable(&self) -> bool {
        self.key.is_some()
    }

    /// `route_key_` and 16 digits of the SHA-256 of the key.
    pub fn id(&self) -> Text {
        let mut digest = HEXLOWER.encode(&Sha256::digest(self.bytes));
        digest.truncate(16);
        format!("route_key_{digest}").into()
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    pub fn to_hex(&self) -> Text {
        HEXLOWER.encode(&self.bytes).into()
    }

    pub(super) fn verifies(&self, canonical: &[u8], signature: &str) -> bool {
        let signature = HEXLOWER_PERMISSIVE.decode(signature.as_bytes()).ok();
        let signature = signature.and_then(|b| Signature::from_slice(&b).ok());
        // Strict: no signature of a weak key, which would fit any message.
        self.key
            .zip(signature)
            .is_some_and(|(key, signature)| key.verify_strict(canonical, &signature).is_ok())
    }
}

impl Signer {
    /// A private key as 64 hexadecimal digits or PKCS#8 PEM; an empty id stands for the one that follows from the key.
    pub fn parse(text: &str, key_id: &str) -> Result<Signer, String> {
        let text = text.trim();
        let key = match PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()) {
            Ok(der) => SigningKey::from_pkcs8_der(der.secret_pkcs8_der()).ok(),
            Err(_) => bytes(text).map(Zeroizing::new).map(|b| SigningKey::from_bytes(&b)),
        };
        let key = key.ok_or("is no Ed25519 private key: 64 hexadecimal digits or PKCS#8 PEM")?;
        let mut signer = Signer { key, key_id: key_id.into() };
        if key_id.is_empty() {
            signer.key_id = signer.public().id();
        }
        Ok(signer)
    }

    pub fn public(&self) -> PublicKey {
        let key = self.key.verifying_key();
        PublicKey { bytes: key.to_bytes(), key: Some(key) }
    }

    pub fn seal(&self, canonical: &[u8]) -> Seal {
        Seal {
            signature: HEXLOWER.encode(&self.key.sign(canonical).to_bytes()).into(),
            public_key: self.public().to_hex(),
            signature_algorithm: ALGORITHM.into(),
        }
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", self.key_id)
    }
}

fn bytes(hex: &str) -> Option<[u8; 32]> {
    HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()?.try_into().ok()
}
