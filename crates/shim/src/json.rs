//! Just enough JSON to read an OCI config.json and a monitor's events. Total, with a limit on depth; the
//! caller limits the size.

use std::collections::BTreeMap;

const MAX_DEPTH: u32 = 64;

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    /// As written: few numbers matter to the shim.
    Number(String),
    Text(String),
    List(Vec<Value>),
    Object(BTreeMap<String, Value>),
}

impl Value {
    /// `None` unless the whole of `text` is one JSON value.
    pub fn parse(text: &[u8]) -> Option<Value> {
        let mut reader = Reader { rest: text };
        let value = reader.value(0)?;
        reader.space();
        reader.rest.is_empty().then_some(value)
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Object(members) => members.get(key),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number from 0 on.
    pub fn number(&self) -> Option<u64> {
        match self {
            Value::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    pub fn list(&self) -> &[Value] {
        match self {
            Value::List(items) => items,
            _ => &[],
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn space(&mut self) {
        while let Some((b' ' | b'\t' | b'\r' | b'\n', rest)) = self.rest.split_first() {
            self.rest = rest;
        }
    }

    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn literal(&mut self, word: &[u8], value: Value) -> Option<Value> {
        self.rest = self.rest.strip_prefix(word)?;
        Some(value)
    }

    fn value(&mut self, depth: u32) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.space();
        match self.rest.first()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string().map(Value::Text),
            b't' => self.literal(b"true", Value::Bool(true)),
            b'f' => self.literal(b"false", Value::Bool(false)),
            b'n' => self.literal(b"null", Value::Null),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: u32) -> Option<Value> {
        self.take()?;
        let mut members = BTreeMap::new();
        self.space();
        if self.rest.first() == Some(&b'}') {
            self.take()?;
            return Some(Value::Object(members));
        }
        loop {
            self.space();
            let key = self.string()?;
            self.space();
            if self.take()? != b':' {
                return None;
            }
            let value = self.value(depth + 1)?;
            members.insert(key, value);
            self.space();
            match self.take()? {
                b',' => {}
                b'}' => return Some(Value::Object(members)),
                _ => return None,
            }
        }
    }

    fn array(&mut self, depth: u32) -> Option<Value> {
        self.take()?;
        let mut items = Vec::new();
        self.space();
        if self.rest.first() == Some(&b']') {
            self.take()?;
            return Some(Value::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.space();
            match self.take()? {
                b',' => {}
                b']' => return Some(Value::List(items)),
                _ => return None,
            }
        }
    }

    fn number(&mut self) -> Option<Value> {
        let length = self
            .rest
            .iter()
            .take_while(|b| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .count();
        let (digits, rest) = self.rest.split_at_checked(length)?;
        if digits.is_empty() {
            return None;
        }
        self.rest = rest;
        Some(Value::Number(String::from_utf8_lossy(digits).into_owned()))
    }

    fn string(&mut self) -> Option<String> {
        if self.take()? != b'"' {
            return None;
        }
        let mut bytes = Vec::new();
        loop {
            match self.take()? {
                b'"' => return String::from_utf8(bytes).ok(),
                b'\\' => {
                    let mut room = [0; 4];
                    bytes.extend_from_slice(self.escape()?.encode_utf8(&mut room).as_bytes());
                }
                0..0x20 => return None,
                byte => bytes.push(byte),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        Some(match self.take()? {
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            c @ (b'"' | b'\\' | b'/') => char::from(c),
            b'u' => {
                let high = self.hex4()?;
                if !(0xd800..0xdc00).contains(&high) {
                    return char::from_u32(high);
                }
                self.rest = self.rest.strip_prefix(b"\\u")?;
                let low = self.hex4()?.checked_sub(0xdc00)?;
                return char::from_u32(0x10000 + ((high - 0xd800) << 10) + low);
            }
            _ => return None,
        })
    }

    fn hex4(&mut self) -> Option<u32> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        self.rest = rest;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_nested_values_and_escapes() {
        let value =
            Value::parse(br#" {"a":[1,-2.5e3,true,null,{"b":"x\n\u00e9\ud83d\ude00"}],"c":{}} "#)
                .expect("valid");
        let list = value.get("a").expect("a").list();
        assert_eq!(list.len(), 5);
        assert_eq!(
            list[4].get("b").and_then(Value::text),
            Some("x\n\u{e9}\u{1f600}")
        );
    }

    #[test]
    fn refuses_what_is_not_json() {
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\"}",
            "\"\\ud800\"",
            "1 2",
            "nul",
            "\"\n\"",
            "{\"a\":1,}",
        ] {
            assert_eq!(Value::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn depth_is_limited() {
        let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
        assert_eq!(Value::parse(&deep), None);
        let shallow = [b"[".repeat(60), b"]".repeat(60)].concat();
        assert!(Value::parse(&shallow).is_some());
    }

    #[test]
    fn any_prefix_and_any_flipped_bit_is_survived() {
        let text = br#"{"event":"SHUTDOWN","data":{"guest":true,"reason":"guest-\u0073hutdown"},"n":[1.5,{}]}"#;
        for end in 0..text.len() {
            assert_eq!(Value::parse(&text[..end]), None);
        }
        for bit in 0..text.len() * 8 {
            let mut copy = text.to_vec();
            copy[bit / 8] ^= 1 << (bit % 8);
            let _ = Value::parse(&copy);
        }
    }
}
