//! vpn_login: lines of a VPN gateway become logins.
//!
//! In: lines of `vpnd`, such as `user=ann from=192.0.2.7 result=ok`. Out: `details.username`, `details.sourceipaddress`,
//! `details.success`, and `details.site` where the setting `site` is there. Lines of its health check are dropped.
//! Never: changes to lines that it does not know.

use mozdef_plugin::{Event, Outcome, Plugin, setting};

/// The plugin.
#[derive(Default)]
pub struct VpnLogin;

impl Plugin for VpnLogin {
    const NAME: &'static str = "vpn_login";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const REGISTRATION: &'static [&'static str] = &["vpnd"];
    const PRIORITY: i32 = 10;

    fn on_event(&mut self, event: &mut Event<'_>) -> Result<Outcome, String> {
        let Some(line) = event.str("summary").map(|line| line.into_owned()) else { return Ok(Outcome::Keep) };
        if line == "health check" {
            return Ok(Outcome::Drop);
        }
        let Some(login) = parse(&line) else { return Ok(Outcome::Keep) };
        event.set("details.username", login.user);
        event.set("details.sourceipaddress", login.from);
        event.set("details.success", login.result == "ok");
        if let Some(site) = setting("site") {
            event.set("details.site", site);
        }
        Ok(Outcome::Keep)
    }
}

mozdef_plugin::export!(VpnLogin);

#[derive(Debug, Default, PartialEq)]
struct Login<'l> {
    user: &'l str,
    from: &'l str,
    result: &'l str,
}

fn parse(line: &str) -> Option<Login<'_>> {
    let value = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    Some(Login { user: value("user")?, from: value("from")?, result: value("result")? })
}

#[cfg(test)]
mod tests {
    use mozdef_plugin::run;

    use super::VpnLogin;

    #[test]
    fn logins_are_read_natively_as_well() {
        let answer = run::<VpnLogin>(r#"{"summary":"user=ann from=192.0.2.7 result=denied"}"#);
        let document = answer.document().unwrap();
        assert!(document.contains(r#""success":false"#), "{document}");
        assert_eq!(run::<VpnLogin>(r#"{"summary":"health check"}"#).document(), None);
    }
}
