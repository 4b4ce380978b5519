//! Schemas of Protobuf that are no text: a file's descriptor in base64, as clients for Python register them. Registries that
//! do not turn it into text give it back as it is.
//!
//! In: such a schema, and values behind their message's place in the file. Out: messages. Never: a guess where the place or
//! an import is missing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{DescriptorPool, DynamicMessage, FileDescriptor, MessageDescriptor};

/// Deepest message within messages that a value may name.
const DEPTH_MAX: usize = 32;

/// The file that a schema describes; `None` where the schema is not in this form.
///
/// # Errors
/// It is, and cannot be used: something that it imports is not known, say.
pub(super) fn described(schema: &str) -> Option<Result<FileDescriptor, String>> {
    let bytes = STANDARD.decode(schema.trim()).ok()?;
    let mut pool = DescriptorPool::global();
    if let Err(error) = pool.decode_file_descriptor_proto(&bytes[..]) {
        return Some(Err(format!("its descriptor cannot be used: {error}")));
    }
    let file = pool.files().last();
    Some(file.ok_or_else(|| "its descriptor is empty".to_owned()))
}

/// Reads a value: the place of its message in the file, then the message; or the place from a header, then the whole value.
///
/// # Errors
/// Why it does not fit the schema.
pub(super) fn read(
    file: &FileDescriptor,
    place: Option<&[u8]>,
    value: &[u8],
) -> Result<DynamicMessage, String> {
    let (message, rest) = match place {
        Some(place) => (find(file, place)?.0, value),
        None => find(file, value)?,
    };
    DynamicMessage::decode(message, rest).map_err(|error| error.to_string())
}

/// The message at a place, and what follows: how many numbers there are, then each, as zigzag varints; a single zero is
/// short for the first message.
fn find<'v>(file: &FileDescriptor, bytes: &'v [u8]) -> Result<(MessageDescriptor, &'v [u8]), String> {
    let odd = || "it does not say which message it is".to_owned();
    let (count, mut rest) = number(bytes).ok_or_else(odd)?;
    let mut places = vec![0; usize::from(count == 0)];
    if count > DEPTH_MAX {
        return Err(odd());
    }
    for _ in 0..count {
        let (place, behind) = number(rest).ok_or_else(odd)?;
        places.push(place);
        rest = behind;
    }
    let mut places = places.into_iter();
    let missing = || "the schema has no message at that place".to_owned();
    let first = file.messages().nth(places.next().unwrap_or(0)).ok_or_else(missing)?;
    let message =
        places.try_fold(first, |message, place| message.child_messages().nth(place)).ok_or_else(missing)?;
    Ok((message, rest))
}

/// A zigzag varint that is not negative, and what follows.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value: u64 = 0;
    for (shift, byte) in (0_u32..63).step_by(7).zip(bytes) {
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            let used = usize::try_from(shift / 7).ok()?.checked_add(1)?;
            let is_positive = value & 1 == 0;
            return is_positive.then_some((usize::try_from(value >> 1).ok()?, bytes.get(used..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_zigzag_varints() {
        assert_eq!(number(&[0, 9]), Some((0, &[9][..])));
        assert_eq!(number(&[2]), Some((1, &[][..])));
        assert_eq!(number(&[0x80, 0x02, 7]), Some((128, &[7][..])));
        for odd in [&[1][..], &[0x80], &[], &[0xff; 20]] {
            assert_eq!(number(odd), None, "{odd:?}");
        }
    }
}
