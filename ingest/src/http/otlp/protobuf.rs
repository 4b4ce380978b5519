//! The wire format: messages cut into the bytes of their fields, without copies.
//!
//! In: a message. Out: groups of log records. Never: recursion: three levels are looked at, no more.

use bytes::{Buf, Bytes};
use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::{Group, OtlpError};

/// Fields of `ExportLogsServiceRequest`, `ResourceLogs` and `ScopeLogs`.
const RESOURCE_LOGS: u32 = 1;
const RESOURCE: u32 = 1;
const SCOPE_LOGS: u32 = 2;
const SCOPE: u32 = 1;
const LOG_RECORDS: u32 = 2;

fn malformed(cause: &impl ToString) -> OtlpError {
    OtlpError::Malformed { form: "protobuf", cause: cause.to_string() }
}

pub(super) fn cut(body: &Bytes, records_max: usize) -> Result<Vec<Group>, OtlpError> {
    let mut groups = Vec::new();
    let mut left = records_max;
    let too_many = OtlpError::TooMany { limit: records_max };
    each(body, &mut |number, resource_logs| {
        if number == RESOURCE_LOGS {
            resource(&resource_logs, &mut left, &mut groups, &too_many)
        } else {
            Ok(())
        }
    })?;
    Ok(groups)
}

fn resource(
    message: &Bytes,
    left: &mut usize,
    groups: &mut Vec<Group>,
    too_many: &OtlpError,
) -> Result<(), OtlpError> {
    let mut about = Bytes::new();
    let first = groups.len();
    each(message, &mut |number, value| {
        match number {
            RESOURCE => about = value,
            SCOPE_LOGS => {
                let group = scope(&value, left, too_many)?;
                if !group.records.is_empty() {
                    groups.push(group);
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    // The resource may stand behind what belongs to it.
    for group in groups.iter_mut().skip(first) {
        group.resource = about.clone();
    }
    Ok(())
}

fn scope(message: &Bytes, left: &mut usize, too_many: &OtlpError) -> Result<Group, OtlpError> {
    let mut group = Group { resource: Bytes::new(), scope: Bytes::new(), records: Vec::new() };
    each(message, &mut |number, value| {
        match number {
            SCOPE => group.scope = value,
            LOG_RECORDS => {
                *left = left.checked_sub(1).ok_or_else(|| too_many.clone())?;
                group.records.push(value);
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(group)
}

/// Whether a record can be read at all; what its fields mean is looked at later.
pub(super) fn is_message(record: &Bytes) -> Result<(), OtlpError> {
    each(record, &mut |_, _| Ok(()))
}

/// Shows the fields that have bytes; the others are stepped over.
fn each(message: &Bytes, show: &mut dyn FnMut(u32, Bytes) -> Result<(), OtlpError>) -> Result<(), OtlpError> {
    let mut rest = message.clone();
    let failed = |error: DecodeError| malformed(&error);
    while rest.has_remaining() {
        let (number, wire) = decode_key(&mut rest).map_err(failed)?;
        if wire != WireType::LengthDelimited {
            skip_field(wire, number, &mut rest, DecodeContext::default()).map_err(failed)?;
            continue;
        }
        let length = decode_varint(&mut rest).map_err(failed)?;
        let length = usize::try_from(length).ok().filter(|length| *length <= rest.len());
        let Some(length) = length else { return Err(malformed(&"a field is longer than the message")) };
        show(number, rest.split_to(length))?;
    }
    Ok(())
}
