//! rt_flow: sessions that a Juniper SRX denied or created.
//!
//! In: lines of the program `RT_FLOW`. Out: `details` with action, both ends, service,
//! protocol, policy, zones. Never: closed sessions, which MozDef did not read either.

use model::event::Event;

use super::details::{Fields, detail_str};
use crate::plugin::{Builtin, Context, Outcome, PluginError};

/// The row of the table.
pub(super) const RT_FLOW: Builtin = Builtin { name: "rt_flow", registration: &["rt_flow"], priority: 5, run };

fn run(event: &mut Event, _: &mut Context<'_>) -> Result<Outcome, PluginError> {
    if detail_str(event, "program") != Some("RT_FLOW") {
        return Ok(Outcome::Unchanged);
    }
    let Some(line) = event.member_str("summary").map(str::to_owned) else { return Ok(Outcome::Unchanged) };
    let Some(fields) = parse(&line) else { return Ok(Outcome::Unchanged) };
    fields.write_to(event)?;
    Ok(Outcome::Changed)
}

fn parse(line: &str) -> Option<Fields<'_>> {
    if let Some((_, rest)) = line.split_once("RT_FLOW_SESSION_DENY: session denied ") {
        return denied(rest.split_whitespace());
    }
    let (_, rest) = line.split_once("RT_FLOW_SESSION_CREATE: session created ")?;
    created(rest.split_whitespace())
}

/// `a/1->b/2 [tag] service 6(0) policy zone zone … user(roles) interface`
fn denied<'l>(mut words: impl Iterator<Item = &'l str>) -> Option<Fields<'l>> {
    let fields = Fields::new().text("action", "denied");
    let fields = ends(words.next()?, fields)?;
    let fields = fields.text("service", service(&mut words)?);
    let (protocol, kind) = words.next()?.strip_suffix(')')?.split_once('(')?;
    let fields = fields.text("protocol", protocol).text("protocoltype", kind);
    Some(interface(policy(&mut words, fields)?, words))
}

/// `a/1->b/2 [tag] service a/1->b/2 rule rule 6 policy zone zone number user(roles) interface`
fn created<'l>(mut words: impl Iterator<Item = &'l str>) -> Option<Fields<'l>> {
    let fields = Fields::new().text("action", "created");
    let fields = ends(words.next()?, fields)?;
    let fields = fields.text("service", service(&mut words)?);
    words.next().filter(|translated| translated.contains("->"))?;
    let fields = fields.text("sourcenatrule", words.next()?).text("destinationnatrule", words.next()?);
    let fields = fields.text("protocol", words.next()?);
    let fields = policy(&mut words, fields)?;
    let fields = fields.text("sessionid", words.next()?);
    Some(interface(fields, words))
}

fn ends<'l>(pair: &'l str, fields: Fields<'l>) -> Option<Fields<'l>> {
    let (source, destination) = pair.split_once("->")?;
    let (source, source_port) = source.rsplit_once('/')?;
    let (destination, destination_port) = destination.rsplit_once('/')?;
    let fields = fields.text("sourceipaddress", source).text("sourceport", source_port);
    Some(fields.text("destinationipaddress", destination).text("destinationport", destination_port))
}

/// The word after the ends; newer releases write a connection's tag before it.
fn service<'l>(words: &mut impl Iterator<Item = &'l str>) -> Option<&'l str> {
    words.find(|word| !word.starts_with("0x"))
}

fn policy<'l>(words: &mut impl Iterator<Item = &'l str>, fields: Fields<'l>) -> Option<Fields<'l>> {
    let fields = fields.text("policy", words.next()?).text("sourcezone", words.next()?);
    Some(fields.text("destinationzone", words.next()?))
}

/// The word after `user(roles)`, where the line goes on so far.
fn interface<'l>(fields: Fields<'l>, words: impl Iterator<Item = &'l str>) -> Fields<'l> {
    let mut rest = words.skip_while(|word| !word.ends_with(')'));
    let interface = rest.next().and_then(|_| rest.next());
    fields.some("interface", interface)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_line_with_a_tag_is_read() {
        let line = "RT_FLOW - RT_FLOW_SESSION_DENY: session denied 10.0.0.1/1->10.0.0.2/53 0x0 junos-dns-udp 17(0) default-deny trust untrust UNKNOWN UNKNOWN alice(admin) ge-0/0/1.0 No";
        let fields = parse(line).unwrap();
        for (name, value) in [
            ("service", "junos-dns-udp"),
            ("protocol", "17"),
            ("policy", "default-deny"),
            ("interface", "ge-0/0/1.0"),
        ] {
            assert_eq!(fields.get(name), Some(value), "{name}");
        }
    }

    #[test]
    fn other_lines_are_left_alone() {
        for line in [
            "",
            "RT_FLOW_SESSION_CLOSE: session closed idle Timeout: 10.6.4.3/9601->20.21.23.121/64635 icmp",
            "RT_FLOW_SESSION_DENY: session denied ",
            "RT_FLOW_SESSION_DENY: session denied a->b c 6(0) p z z",
            "RT_FLOW_SESSION_CREATE: session created 10.0.0.1/1->10.0.0.2/2 s x None None 6 p z z 1",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
