//! How a body and its headers are kept: packed by the door's thread, before the writer is asked for anything.

use std::{io, io::Read, sync::Mutex};

use zstd::bulk::Compressor;

use crate::{headers::Headers, threads::lock};

use super::StoreError;

/// Level 3 writes about a quarter fewer bytes than level 1 for 7 % of the speed; a card's life is in the bytes.
const ZSTD_LEVEL: i32 = 3;

/// Below this a frame's own header eats what it saves.
const PACK_BYTES_MIN: usize = 128;

/// A body is never larger than this once unpacked, whatever a damaged file claims.
const UNPACKED_BYTES_MAX: usize = 128 * 1024 * 1024;

/// A body in the form that is stored.
pub(super) struct Packed {
    pub(super) codec: &'static str,
    pub(super) raw_bytes: usize,
    pub(super) bytes: Vec<u8>,
}

/// Packs bodies, with a few compressors that are kept: making one costs as much as packing a small body. Few, because more than
/// there are processors would only wait.
#[derive(Default)]
pub(super) struct Packer(Mutex<Vec<Compressor<'static>>>);

/// Compressors that wait for work.
const COMPRESSORS_MAX: usize = 4;

/// A larger body has a compressor of its own: it takes longer than making one, and what it needs, over a megabyte, would be
/// kept for all that come after.
const KEPT_BYTES_MAX: usize = 256 * 1024;

impl Packer {
    /// Packs, or keeps the bytes as they are when that is shorter.
    pub(super) fn pack(&self, raw: Vec<u8>) -> Packed {
        let raw_bytes = raw.len();
        match (raw_bytes >= PACK_BYTES_MIN).then(|| self.compress(&raw)) {
            Some(Ok(bytes)) if bytes.len() < raw_bytes => Packed { codec: "zstd", raw_bytes, bytes },
            // Also what a compressor without memory says: the bytes themselves are as good.
            _ => Packed { codec: "raw", raw_bytes, bytes: raw },
        }
    }

    fn compress(&self, raw: &[u8]) -> io::Result<Vec<u8>> {
        let is_large = raw.len() > KEPT_BYTES_MAX;
        let kept = if is_large { None } else { lock(&self.0).pop() };
        let mut compressor = match kept {
            Some(compressor) => compressor,
            None => Compressor::new(ZSTD_LEVEL)?,
        };
        let mut bytes = compressor.compress(raw)?;
        // It was made for the worst case, and may wait for the disk a while.
        bytes.shrink_to_fit();
        let mut kept = lock(&self.0);
        if !is_large && kept.len() < COMPRESSORS_MAX {
            kept.push(compressor);
        }
        Ok(bytes)
    }
}

/// The bytes that were sent.
pub(super) fn unpack(codec: &str, bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
    match codec {
        "raw" => Ok(bytes.to_vec()),
        "zstd" => {
            let unpacked_bytes = zstd::zstd_safe::get_frame_content_size(bytes)
                .ok()
                .flatten()
                .and_then(|size| usize::try_from(size).ok())
                .filter(|size| *size <= UNPACKED_BYTES_MAX)
                .ok_or_else(|| StoreError::Corrupt { what: "a compressed body without its length".to_owned() })?;
            zstd::bulk::decompress(bytes, unpacked_bytes)
                .map_err(|cause| StoreError::Corrupt { what: format!("a compressed body: {cause}") })
        }
        other => Err(StoreError::Corrupt { what: format!("a body in the unknown form {other:?}") }),
    }
}

/// The same, and of a long one only the beginning: one byte more than `bytes_max`, which tells that there is more.
pub(super) fn unpack_within(codec: &str, bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, StoreError> {
    let size = match codec {
        "zstd" => zstd::zstd_safe::get_frame_content_size(bytes).ok().flatten(),
        _ => u64::try_from(bytes.len()).ok(),
    };
    if size.is_none_or(|size| usize::try_from(size).is_ok_and(|size| size <= bytes_max)) {
        return unpack(codec, bytes);
    }
    let mut beginning = Vec::new();
    let wanted = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    let read = match codec {
        "zstd" => zstd::stream::read::Decoder::with_buffer(bytes)
            .and_then(|decoder| decoder.take(wanted).read_to_end(&mut beginning)),
        _ => bytes.take(wanted).read_to_end(&mut beginning),
    };
    match read {
        Ok(_) => Ok(beginning),
        Err(cause) => Err(StoreError::Corrupt { what: format!("a compressed body: {cause}") }),
    }
}

/// Headers as a JSON list of pairs. A value that is not UTF-8 is kept exactly, as `{"base16":"…"}`.
pub(super) fn headers_to_json(headers: &Headers) -> String {
    let mut json = String::with_capacity(1024);
    for (name, value) in headers.iter() {
        json.push_str(if json.is_empty() { "[[" } else { ",[" });
        push_text(&mut json, name);
        match std::str::from_utf8(value) {
            Ok(text) => {
                json.push(',');
                push_text(&mut json, text);
            }
            Err(_) => {
                json.push_str(",{\"base16\":\"");
                json.extend(value.iter().flat_map(|byte| {
                    [byte >> 4, byte & 15].map(|digit| char::from_digit(u32::from(digit), 16).unwrap_or('0'))
                }));
                json.push_str("\"}");
            }
        }
        json.push(']');
    }
    json.push_str(if json.is_empty() { "[]" } else { "]" });
    json
}

/// A text as JSON has it. Most that comes in headers needs no escape.
fn push_text(json: &mut String, text: &str) {
    match text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        true => {
            json.push('"');
            json.push_str(text);
            json.push('"');
        }
        false => json.push_str(&serde_json::Value::from(text).to_string()),
    }
}

/// The headers again, as they came.
pub(super) fn headers_from_json(json: &str) -> Result<Headers, StoreError> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Value {
        Text(String),
        Bytes { base16: String },
    }
    let corrupt = |what: &str| StoreError::Corrupt { what: format!("a delivery's headers: {what}") };
    let pairs: Vec<(String, Value)> = serde_json::from_str(json).map_err(|error| corrupt(&error.to_string()))?;
    let mut headers = Headers::new();
    for (name, value) in pairs {
        match value {
            Value::Text(text) => headers.push(&name, text.as_bytes()),
            Value::Bytes { base16 } => {
                let digits: Option<Vec<u32>> = base16.chars().map(|digit| digit.to_digit(16)).collect();
                let digits = digits.filter(|digits| digits.len() % 2 == 0).ok_or_else(|| corrupt("odd base16"))?;
                let bytes: Vec<u8> = digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect();
                headers.push(&name, &bytes);
            }
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_back_as_they_went() {
        let packer = Packer::default();
        for raw in [Vec::new(), b"{}".to_vec(), vec![b'x'; 100_000], (0..=255).collect::<Vec<u8>>()] {
            let packed = packer.pack(raw.clone());
            assert_eq!(packed.raw_bytes, raw.len());
            assert_eq!(unpack(packed.codec, &packed.bytes).unwrap(), raw);
        }
    }

    #[test]
    fn no_body_is_kept_in_more_bytes_than_it_has() {
        let packer = Packer::default();
        let mut state = 1_u64;
        // Bytes without any pattern, the worst that can come, around the length from which packing begins, and longer.
        for length in (0..400).chain([4096, 100_000]) {
            let raw: Vec<u8> = (0..length)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 56) as u8
                })
                .collect();
            let packed = packer.pack(raw.clone());
            assert!(packed.bytes.len() <= raw.len(), "{} bytes for {length}", packed.bytes.len());
            assert_eq!(unpack(packed.codec, &packed.bytes).unwrap(), raw);
        }
        let json = br#"{"action":"opened","number":7}"#.to_vec();
        assert_eq!(packer.pack(json.clone()).bytes.len(), json.len());
    }

    #[test]
    fn of_a_long_body_the_beginning_is_enough() {
        let raw: Vec<u8> = (0..400_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let packed = Packer::default().pack(raw.clone());
        for (codec, bytes) in [("raw", &raw), (packed.codec, &packed.bytes)] {
            assert_eq!(unpack_within(codec, bytes, 9).unwrap(), raw[..10], "{codec}");
            assert_eq!(unpack_within(codec, bytes, raw.len()).unwrap(), raw, "{codec}");
        }
        let whole = zstd::bulk::compress(&raw, 1).unwrap();
        assert!(unpack_within("zstd", &whole[..whole.len() / 4], 300_000).is_err(), "the rest is lost");
    }

    #[test]
    fn a_damaged_body_is_an_error_and_no_allocation() {
        assert!(unpack("zstd", b"not zstd").is_err());
        assert!(unpack("lzma", b"").is_err());
    }

    #[test]
    fn headers_come_back_byte_for_byte() {
        let headers: Headers =
            [("X-City", "São Paulo".as_bytes()), ("X-Raw", b"\xff\x00\x10"), ("X-Empty", b""), ("X-\"", b"\\\"\t")]
                .into_iter()
                .collect();
        assert_eq!(headers_from_json(&headers_to_json(&headers)).unwrap(), headers);
    }
}
