//! Node ids as DNS labels (dns.md): ids of letters, digits and hyphens stand for themselves, others are written
//! as `b32-` and lower-case base32 without padding. Nothing here checks that such a node exists.

use data_encoding::BASE32_NOPAD;

/// The label of a node id, or why it has none.
pub fn encode(node_id: &str) -> Result<String, String> {
    let node_id = node_id.trim();
    if node_id.is_empty() {
        return Err("a node id must not be empty; write it as in ws://127.0.0.1:7000".to_owned());
    }
    // A plain id that looks encoded would not come back as itself.
    if is_plain(node_id) && !node_id.starts_with(PREFIX) {
        return Ok(node_id.to_owned());
    }
    Ok(format!("{PREFIX}{}", BASE32_NOPAD.encode(node_id.as_bytes()).to_lowercase()))
}

/// The node id that a label stands for, or why it stands for none. Case does not matter in an encoded label.
pub fn decode(label: &str) -> Result<String, String> {
    let label = label.trim();
    let wrong = |why: &str| format!("`{label}` is no label of a node: {why}");
    match label.get(..PREFIX.len()).filter(|start| start.eq_ignore_ascii_case(PREFIX)) {
        Some(_) => {
            let text = label.get(PREFIX.len()..).unwrap_or_default().to_uppercase();
            if text.is_empty() {
                return Err(wrong("nothing follows b32-"));
            }
            let bytes = BASE32_NOPAD
                .decode(text.as_bytes())
                .map_err(|_| wrong("what follows b32- is not base32 (letters and 2 to 7)"))?;
            String::from_utf8(bytes).map_err(|_| wrong("it does not stand for a text"))
        }
        None if is_plain(label) => Ok(label.to_owned()),
        None => Err(wrong("it may hold letters, digits and hyphens only")),
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

const PREFIX: &str = "b32-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_back_as_the_id_they_stand_for() {
        for id in ["ws://127.0.0.1:41011", "node-1", "b32-abc", "ü", "a b"] {
            let label = encode(id).unwrap();
            assert!(is_plain(&label), "{label}");
            assert_eq!(decode(&label).unwrap(), id);
        }
        assert_eq!(encode("ws://127.0.0.1:41011").unwrap(), "b32-o5ztulzpgezdolrqfyyc4mj2gqytamjr");
        assert_eq!(decode("B32-O5ZTULZPGEZDOLRQFYYC4MJ2GQYTAMJR").unwrap(), "ws://127.0.0.1:41011");
    }

    #[test]
    fn what_is_no_label_is_refused() {
        for label in ["", "bad_label", "b32-", "b32-!!!", "b32-a", "a.b"] {
            assert!(decode(label).is_err(), "{label}");
        }
        assert!(encode("").is_err());
    }
}
