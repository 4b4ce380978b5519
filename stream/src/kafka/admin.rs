//! Clients that ask for settings and change topics.
//!
//! In: a configuration. Out: a client that can log in. Never: a client that lives long: its token is not renewed.

use std::ffi::{CStr, CString};

use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::bindings;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::types::RDKafkaRespErr;

use super::client::{Context, Looking, Voice};

/// Such a client.
pub(super) type Admin = AdminClient<Context<Looking>>;

/// Makes one; blocks where a token is fetched.
///
/// # Errors
/// Why there is none, in words.
pub(super) fn admin(config: &ClientConfig, voice: Voice) -> Result<Admin, String> {
    let token = voice.token().transpose()?;
    let context = Context { voice, role: Looking };
    let client = AdminClient::from_config_and_context(config, context).map_err(|error| error.to_string())?;
    if let Some(token) = token {
        // The crate serves what these clients ask for only while they are consumers or producers: the wish for a token
        // would never be heard.
        hand_over(&client, &token)?;
    }
    Ok(client)
}

#[allow(unsafe_code, reason = "the crate has no other way to give this kind of client a token")]
fn hand_over(client: &Admin, token: &rdkafka::client::OAuthToken) -> Result<(), String> {
    let text = |text: &str| CString::new(text).map_err(|_| "the token holds a zero byte".to_owned());
    let (value, principal) = (text(&token.token)?, text(&token.principal_name)?);
    let mut error = [0_u8; 256];
    // SAFETY: the client lives until the end of this function, all strings end with zero and live as long, there are no
    // extensions, and the length is that of the buffer for the error.
    let outcome = unsafe {
        bindings::rd_kafka_oauthbearer_set_token(
            client.inner().native_ptr(),
            value.as_ptr(),
            token.lifetime_ms,
            principal.as_ptr(),
            std::ptr::null_mut(),
            0,
            error.as_mut_ptr().cast(),
            error.len(),
        )
    };
    if outcome == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    let why = CStr::from_bytes_until_nul(&error).map(CStr::to_string_lossy).unwrap_or_default();
    Err(format!("the token is refused: {why}"))
}
