//! Calls and answers between nodes of this program, in few bytes that are read without a search (part of the extension
//! of [`super::kin`]; a reference node is never sent one).
//!
//! A frame is the byte 1, the length of its head (two bytes, little-endian), the head, and the texts one behind the
//! other. The head is the kind (1 request, 2 answer), the flags (four bytes, little-endian), the time of sending
//! (eight bytes, IEEE 754, little-endian), and then numbers in LEB128, in the order of [`encode`]: the length of each
//! text, the count of each list before its lengths, and signed numbers folded as `2 n` and `-2 n - 1`. What the flags
//! say is not there is as usual or absent.
//!
//! Promises: what is read is what was written, to the last member; what does not add up is a [`Malformed`]; arguments
//! and results are checked to be JSON and not looked into further.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{
    Headers, Malformed, Message, MessageKind, Rpc, RpcRequest, RpcResponse, Str, empty_list, empty_object,
};

/// The first byte of a frame; no JSON text begins with it.
pub const MARK: u8 = 1;

/// What a message carries.
#[derive(Clone, Copy)]
pub enum Carried<'r, 'a> {
    Request(&'r RpcRequest<'a>),
    Response(&'r RpcResponse<'a>),
}

impl Carried<'_, '_> {
    /// A message with this as its payload, as JSON.
    pub fn in_json(&self, message: &Message) -> Bytes {
        match self {
            Carried::Request(request) => message.encode_with(*request),
            Carried::Response(response) => message.encode_with(*response),
        }
    }
}

/// `None` for the rare message that has no such form: one of another kind, or with paths of thousands of nodes.
pub fn encode(message: &Message, carried: Carried) -> Option<Bytes> {
    if message.kind() != MessageKind::Rpc {
        return None;
    }
    let (kind, topic) = match carried {
        Carried::Request(request) => {
            (REQUEST, message.topic.strip_prefix(REQUEST_TOPIC) == Some(&*request.command))
        }
        Carried::Response(_) => (RESPONSE, *message.topic == *RESPONSE_TOPIC),
    };
    let mut out = Writer::new(kind, message.timestamp);
    let Headers { correlation_id, source_cluster, target_cluster, routing_path, federation_path, .. } =
        &message.headers;
    out.text(&message.message_id);
    out.optional(CORRELATION, (**correlation_id != *message.message_id).then_some(correlation_id));
    out.optional(TOPIC, (!topic).then_some(&message.topic));
    out.optional(DELIVERY, (*message.delivery != *USUAL_DELIVERY).then_some(&message.delivery));
    out.optional(SOURCE, source_cluster.as_deref());
    out.optional(TARGET, target_cluster.as_deref());
    out.list(routing_path);
    out.list(federation_path);
    out.number(HOPS, message.headers.hop_budget);
    out.optional(
        PRIORITY,
        (*message.headers.priority != *USUAL_PRIORITY).then_some(&message.headers.priority),
    );
    out.optional(METADATA, unless("{}", message.headers.metadata));
    match carried {
        Carried::Request(request) => {
            out.optional(ID, (*request.request_id != *message.message_id).then_some(&request.request_id));
            out.text(&request.command);
            out.optional(ARGS, unless("[]", request.args));
            out.optional(KWARGS, unless("{}", request.kwargs));
            out.list(&request.resources);
            out.optional(FUNCTION_ID, request.function_id.as_deref());
            out.optional(VERSION, request.version_constraint.as_deref());
            out.same_or(SAME_CLUSTER, CLUSTER, request.target_cluster.as_deref(), target_cluster.as_deref());
            out.optional(NODE, request.target_node.as_deref());
            out.text(&request.reply_to);
            if request.federation_path == *federation_path {
                out.flags |= SAME_PATH;
            } else {
                out.list(&request.federation_path);
            }
            out.number(REMAINING, request.federation_remaining_hops);
        }
        Carried::Response(response) => {
            out.optional(ID, (*response.request_id != *message.message_id).then_some(&response.request_id));
            if response.success {
                out.flags |= SUCCESS;
            }
            out.optional(RESULT, unless("null", response.result));
            out.optional(ERROR, response.error.map(RawValue::get));
            out.text(&response.responder);
            out.text(&response.reply_to);
            out.same_or(SAME_CLUSTER, CLUSTER, response.reply_cluster.as_deref(), target_cluster.as_deref());
            out.list(&response.routing_path);
        }
    }
    out.finish()
}

/// Reads a frame that begins with [`MARK`]. The message has no payload: that is what comes beside it.
pub(super) fn decode(bytes: &[u8]) -> Result<(Box<Message<'_>>, Rpc<'_>), Malformed> {
    let mut at = Reader::new(bytes)?;
    let (kind, flags, timestamp) =
        (at.byte()?, u32::from_le_bytes(at.bytes()?), f64::from_le_bytes(at.bytes()?));
    at.flags = flags;
    let message_id = at.text()?;
    let correlation_id = at.optional(CORRELATION)?.unwrap_or(message_id);
    let topic = at.optional(TOPIC)?;
    let delivery = at.optional(DELIVERY)?.unwrap_or(USUAL_DELIVERY);
    let source_cluster = at.optional(SOURCE)?;
    let target_cluster = at.optional(TARGET)?;
    let routing_path = at.list()?;
    let federation_path = at.list()?;
    let hop_budget = at.number(HOPS)?;
    let priority = at.optional(PRIORITY)?.unwrap_or(USUAL_PRIORITY);
    let metadata = at.json(METADATA, empty_object)?;
    let (topic, rpc): (Str, Rpc) = match kind {
        REQUEST => {
            let request_id = at.optional(ID)?.unwrap_or(message_id);
            let command = at.text()?;
            let args = at.json(ARGS, empty_list)?;
            let kwargs = at.json(KWARGS, empty_object)?;
            if !args.get().starts_with('[') || !kwargs.get().starts_with('{') {
                return Err(bad("the arguments are not a list and an object"));
            }
            let resources = at.list()?;
            let function_id = at.optional(FUNCTION_ID)?;
            let version_constraint = at.optional(VERSION)?;
            let cluster = at.same_or(SAME_CLUSTER, CLUSTER, target_cluster)?;
            let target_node = at.optional(NODE)?;
            let mut request = RpcRequest::new(request_id, command, args, kwargs, at.text()?);
            request.resources = resources;
            request.function_id = function_id.map(Str::from);
            request.version_constraint = version_constraint.map(Str::from);
            request.target_cluster = cluster.map(Str::from);
            request.target_node = target_node.map(Str::from);
            request.federation_path = if at.has(SAME_PATH) { federation_path.clone() } else { at.list()? };
            request.federation_remaining_hops = at.number(REMAINING)?;
            let topic = topic.map_or_else(|| [REQUEST_TOPIC, command].concat().into(), Str::from);
            (topic, Rpc::Request(Box::new(request)))
        }
        RESPONSE => {
            let request_id = at.optional(ID)?.unwrap_or(message_id);
            let result = at.json(RESULT, || RawValue::NULL)?;
            let error = if at.has(ERROR) { Some(at.json(ERROR, || RawValue::NULL)?) } else { None };
            let mut response = RpcResponse::new(request_id, at.text()?, Ok(result));
            response.success = at.has(SUCCESS);
            response.error = error;
            response.reply_to = at.text()?.into();
            response.reply_cluster = at.same_or(SAME_CLUSTER, CLUSTER, target_cluster)?.map(Str::from);
            response.routing_path = at.list()?;
            (Str::from(topic.unwrap_or(RESPONSE_TOPIC)), Rpc::Response(Box::new(response)))
        }
        _ => return Err(bad("of an unknown kind")),
    };
    at.finish()?;
    let headers = Headers {
        correlation_id: correlation_id.into(),
        source_cluster: source_cluster.map(Str::from),
        target_cluster: target_cluster.map(Str::from),
        routing_path,
        federation_path,
        hop_budget,
        priority: priority.into(),
        metadata,
    };
    let message = Message {
        message_id: message_id.into(),
        topic,
        message_type: "rpc".into(),
        delivery: delivery.into(),
        payload: None,
        headers,
        timestamp,
    };
    match message.empty_name() {
        Some(name) => Err(Malformed::new(&format!("message.{name}"), "is empty")),
        None => Ok((Box::new(message), rpc)),
    }
}

struct Writer<'w> {
    head: Vec<u8>,
    texts: Vec<&'w str>,
    flags: u32,
}

impl<'w> Writer<'w> {
    fn new(kind: u8, timestamp: f64) -> Writer<'w> {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        // The length and the flags are known at the end.
        head.extend_from_slice(&[MARK, 0, 0, kind, 0, 0, 0, 0]);
        head.extend_from_slice(&timestamp.to_le_bytes());
        Writer { head, texts: Vec::with_capacity(TEXTS), flags: 0 }
    }

    fn count(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.head.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.head.push(number as u8);
    }

    fn text(&mut self, text: &'w str) {
        self.count(text.len() as u64);
        self.texts.push(text);
    }

    fn optional(&mut self, flag: u32, text: Option<&'w str>) {
        if let Some(text) = text {
            self.flags |= flag;
            self.text(text);
        }
    }

    fn same_or(&mut self, same: u32, other: u32, text: Option<&'w str>, usual: Option<&str>) {
        if text.is_some() && text == usual {
            self.flags |= same;
        } else {
            self.optional(other, text);
        }
    }

    fn list(&mut self, texts: &'w [Str]) {
        self.count(texts.len() as u64);
        texts.iter().for_each(|text| self.text(text));
    }

    fn number(&mut self, flag: u32, number: Option<i64>) {
        if let Some(number) = number {
            self.flags |= flag;
            self.count(((number << 1) ^ (number >> 63)) as u64);
        }
    }

    fn finish(mut self) -> Option<Bytes> {
        let length = u16::try_from(self.head.len() - PREFIX_BYTES).ok()?;
        self.head.get_mut(1..PREFIX_BYTES)?.copy_from_slice(&length.to_le_bytes());
        self.head.get_mut(FLAGS_AT..FLAGS_AT + 4)?.copy_from_slice(&self.flags.to_le_bytes());
        let texts: usize = self.texts.iter().map(|text| text.len()).sum();
        self.head.reserve_exact(texts);
        for text in self.texts {
            self.head.extend_from_slice(text.as_bytes());
        }
        Some(self.head.into())
    }
}

struct Reader<'a> {
    head: &'a [u8],
    texts: &'a str,
    flags: u32,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Result<Reader<'a>, Malformed> {
        let short = || bad("cut short");
        let (prefix, rest) = bytes.split_first_chunk::<PREFIX_BYTES>().ok_or_else(short)?;
        let [_, low, high] = *prefix;
        let (head, texts) =
            rest.split_at_checked(u16::from_le_bytes([low, high]) as usize).ok_or_else(short)?;
        let texts = std::str::from_utf8(texts).map_err(|_| bad("not UTF-8"))?;
        Ok(Reader { head, texts, flags: 0 })
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.head.split_first_chunk().ok_or_else(|| bad("cut short"))?;
        self.head = rest;
        Ok(*bytes)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.bytes::<1>().map(|[byte]| byte)
    }

    fn count(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(bad("a number is too long"))
    }

    fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    fn text(&mut self) -> Result<&'a str, Malformed> {
        let length = usize::try_from(self.count()?).unwrap_or(usize::MAX);
        let (text, rest) = self.texts.split_at_checked(length).ok_or_else(|| bad("a text is cut"))?;
        self.texts = rest;
        Ok(text)
    }

    fn optional(&mut self, flag: u32) -> Result<Option<&'a str>, Malformed> {
        if self.has(flag) { self.text().map(Some) } else { Ok(None) }
    }

    fn same_or(
        &mut self,
        same: u32,
        other: u32,
        usual: Option<&'a str>,
    ) -> Result<Option<&'a str>, Malformed> {
        if self.has(same) { Ok(usual) } else { self.optional(other) }
    }

    fn list(&mut self) -> Result<Vec<Str<'a>>, Malformed> {
        let count = self.count()?;
        // Each has a byte for its length, so that more cannot be meant.
        if count > self.head.len() as u64 {
            return Err(bad("a list is cut"));
        }
        (0..count).map(|_| self.text().map(Str::from)).collect()
    }

    fn number(&mut self, flag: u32) -> Result<Option<i64>, Malformed> {
        if !self.has(flag) {
            return Ok(None);
        }
        let folded = self.count()?;
        Ok(Some((folded >> 1) as i64 ^ -((folded & 1) as i64)))
    }

    fn json(&mut self, flag: u32, usual: impl FnOnce() -> &'a RawValue) -> Result<&'a RawValue, Malformed> {
        match self.optional(flag)? {
            Some(text) => serde_json::from_str(text).map_err(|error| Malformed::of("compact", text, &error)),
            None => Ok(usual()),
        }
    }

    fn finish(self) -> Result<(), Malformed> {
        if self.head.is_empty() && self.texts.is_empty() { Ok(()) } else { Err(bad("longer than it says")) }
    }
}

fn unless<'r>(usual: &str, raw: &'r RawValue) -> Option<&'r str> {
    Some(raw.get()).filter(|text| *text != usual)
}

fn bad(what: &str) -> Malformed {
    Malformed::new("compact", what)
}

const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;

const CORRELATION: u32 = 1;
const TOPIC: u32 = 1 << 1;
const DELIVERY: u32 = 1 << 2;
const SOURCE: u32 = 1 << 3;
const TARGET: u32 = 1 << 4;
const HOPS: u32 = 1 << 5;
const PRIORITY: u32 = 1 << 6;
const METADATA: u32 = 1 << 7;
const ID: u32 = 1 << 8;
const SAME_CLUSTER: u32 = 1 << 9;
const CLUSTER: u32 = 1 << 10;
// Of requests.
const ARGS: u32 = 1 << 16;
const KWARGS: u32 = 1 << 17;
const FUNCTION_ID: u32 = 1 << 18;
const VERSION: u32 = 1 << 19;
const NODE: u32 = 1 << 20;
const SAME_PATH: u32 = 1 << 21;
const REMAINING: u32 = 1 << 22;
// Of answers.
const SUCCESS: u32 = 1 << 24;
const RESULT: u32 = 1 << 25;
const ERROR: u32 = 1 << 26;

const REQUEST_TOPIC: &str = "mpreg.rpc.execute.";
const RESPONSE_TOPIC: &str = "mpreg.rpc.response";
const USUAL_DELIVERY: &str = "at_least_once";
const USUAL_PRIORITY: &str = "normal";

/// The mark and the length of the head.
const PREFIX_BYTES: usize = 3;
/// Behind the kind.
const FLAGS_AT: usize = 4;
/// What most heads fit into, and how many texts most messages have.
const HEAD_BYTES: usize = 64;
const TEXTS: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Frame, is_of_a_node};
    use super::*;

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).unwrap()
    }

    fn texts() -> impl Strategy<Value = Vec<String>> {
        proptest::collection::vec("[a-zü\\n\"]{0,6}", 0..4)
    }

    fn optional() -> impl Strategy<Value = Option<String>> {
        proptest::option::of("[a-cü]{0,3}")
    }

    /// Whatever was written is read again, also by the eyes of JSON.
    fn round(message: &Message, carried: Carried) {
        let json = carried.in_json(message);
        let bytes = encode(message, carried).unwrap();
        assert!(is_of_a_node(&bytes));
        let Ok(Frame::Call(read, rpc)) = Frame::decode(&bytes) else { panic!("not read") };
        let again = match &rpc {
            Rpc::Request(request) => Carried::Request(request).in_json(&read),
            Rpc::Response(response) => Carried::Response(response).in_json(&read),
        };
        assert_eq!(again, json);
        // No part of it is all of it, and nothing more is either.
        for end in 0..bytes.len() {
            assert!(Frame::decode(&bytes[..end]).is_err(), "{end}");
        }
        assert!(Frame::decode(&[&bytes[..], b"x"].concat()).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn calls_and_answers_come_back_whole(
            names in proptest::collection::vec("[a-zü]{1,8}", 6),
            lists in proptest::collection::vec(texts(), 4),
            options in proptest::collection::vec(optional(), 6),
            numbers in proptest::collection::vec(proptest::option::of(any::<i64>()), 2),
            values in proptest::collection::vec(0..4usize, 3),
            same in any::<[bool; 6]>(),
            timestamp in -1e12..1e12f64,
        ) {
            let pick = |at: usize, usual: &'static str, other: usize| if same[at] { usual.to_owned() } else { names[other].clone() };
            let list = |at: usize| lists[at].iter().map(|t| Str::from(t.as_str())).collect::<Vec<_>>();
            let option = |at: usize| options[at].as_deref().map(Str::from);
            let topic = pick(0, if same[5] { RESPONSE_TOPIC } else { "mpreg.rpc.execute.x" }, 1);
            let command = pick(1, "x", 2);
            let correlation = if same[2] { &names[0] } else { &names[3] };
            let id = if same[3] { &names[0] } else { &names[4] };
            let (delivery, priority) = (pick(4, USUAL_DELIVERY, 1), pick(4, USUAL_PRIORITY, 1));
            let message = Message {
                message_id: names[0].as_str().into(),
                topic: topic.as_str().into(),
                message_type: "rpc".into(),
                delivery: delivery.as_str().into(),
                payload: None,
                headers: Headers {
                    correlation_id: correlation.as_str().into(),
                    source_cluster: option(0),
                    target_cluster: option(1),
                    routing_path: list(0),
                    federation_path: list(1),
                    hop_budget: numbers[0],
                    priority: priority.as_str().into(),
                    metadata: raw(["{}", r#"{"time_left_ms":30000}"#, r#"{"ü":[1.50]}"#, "{ }"][values[0]]),
                },
                timestamp,
            };
            let args = raw(["[]", "[1,\"ü\"]", "[ ]", "[[],{}]"][values[1]]);
            let mut request = RpcRequest::new(id, &command, args, raw(["{}", "{\"a\":1}", "{ }", "{\"b\":null}"][values[2]]), &names[5]);
            request.resources = list(2);
            request.function_id = option(2);
            request.version_constraint = option(3);
            request.target_cluster = if same[3] { option(1) } else { option(4) };
            request.target_node = option(5);
            request.federation_path = if same[2] { list(1) } else { list(3) };
            request.federation_remaining_hops = numbers[1];
            round(&message, Carried::Request(&request));

            let result = raw(["null", "1.50", "\"ü\"", "[ ]"][values[1]]);
            let mut response = RpcResponse::new(id, &names[5], if same[0] { Ok(result) } else { Err(result) });
            response.reply_to = names[2].as_str().into();
            response.reply_cluster = if same[3] { option(1) } else { option(4) };
            response.routing_path = list(2);
            round(&message, Carried::Response(&response));
        }

        #[test]
        fn no_bytes_do_harm(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), head in 0..60u8) {
            bytes.splice(0..0, [MARK, head, 0, 1 + head % 2]);
            let _ = Frame::decode(&bytes);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let mut request = RpcRequest::new("id", "f", raw("[]"), raw("{}"), "ws://a");
        let mut message = Message {
            message_id: "id".into(),
            topic: "mpreg.rpc.execute.f".into(),
            message_type: "rpc".into(),
            delivery: "at_least_once".into(),
            payload: None,
            headers: Headers {
                correlation_id: "id".into(),
                source_cluster: None,
                target_cluster: None,
                routing_path: Vec::new(),
                federation_path: Vec::new(),
                hop_budget: None,
                priority: "normal".into(),
                metadata: empty_object(),
            },
            timestamp: 0.0,
        };
        let told = |message: &Message, request: &RpcRequest| {
            let bytes = encode(message, Carried::Request(request)).unwrap();
            Frame::decode(&bytes).unwrap_err().to_string()
        };
        request.args = raw("{}");
        assert!(told(&message, &request).contains("a list and an object"));
        request.args = raw("[]");
        message.message_id = "".into();
        assert!(told(&message, &request).contains("message.message_id: is empty"));
        message.message_type = "data".into();
        assert!(encode(&message, Carried::Request(&request)).is_none());
        let mut bytes = encode(
            &Message { message_id: "id".into(), message_type: "rpc".into(), ..message },
            Carried::Request(&request),
        )
        .unwrap()
        .to_vec();
        bytes[3] = 9;
        assert!(Frame::decode(&bytes).unwrap_err().to_string().contains("unknown kind"));
    }
}
