//! Executions that audited hosts repeat all day and nobody looks at: monitoring,
//! RabbitMQ's helpers, sshd starting itself. One list for the two plugins about them.
//!
//! In: `details` of an auditd event. Out: whether it is noise. Never: changes.

use model::event::Event;

use super::details::detail_str;

/// Whether the event is one of the five kinds.
pub(super) fn is_noise(event: &Event) -> bool {
    let text = |key| detail_str(event, key).unwrap_or_default();
    let (parent, user, by, command) = (text("parentprocess"), text("duser"), text("suser"), text("command"));
    let starts = |starts: &[&str]| starts.iter().any(|start| command.starts_with(start));
    let monitor = parent == "gmond" && command.contains("netstat");
    let queue = parent == "beam.smp"
        && user == "rabbitmq"
        && (starts(&["inet_gethost 4", "sh -c exec /bin/sh -s unix:cmd", "/bin/sh -s unix:cmd"])
            || is_path_to(command, "epmd"));
    let login = parent == "sshd" && user == "root" && (starts(&["/usr/sbin/sshd -R", "sshd -R"]));
    let services = parent == "chkconfig" && starts(&["/sbin/runlevel"]);
    let checks = user == "nagios"
        && by == "root"
        && starts(&["/usr/lib64/nagios/plugins", "sh -c /usr/lib64/nagios/plugins"]);
    monitor || queue || login || services || checks
}

/// Whether the command's first word is a path that ends with this name.
fn is_path_to(command: &str, name: &str) -> bool {
    command.split_whitespace().next().and_then(|word| word.rsplit('/').next()) == Some(name)
}

#[cfg(test)]
mod tests {
    use model::event::Event;

    use super::is_noise;

    #[track_caller]
    fn check(details: &str, noise: bool) {
        let event = Event::from_json(&format!(r#"{{"details":{details}}}"#)).unwrap();
        assert_eq!(is_noise(&event), noise, "{details}");
    }

    #[test]
    fn the_five_kinds() {
        check(r#"{"parentprocess":"gmond","duser":"nobody","command":"/bin/sh -c netstat -t -a -n"}"#, true);
        check(
            r#"{"parentprocess":"beam.smp","duser":"rabbitmq","command":"/usr/lib64/erlang/erts-5.8.5/bin/epmd -daemon"}"#,
            true,
        );
        check(
            r#"{"parentprocess":"beam.smp","duser":"rabbitmq","command":"sh -c exec /bin/sh -s unix:cmd"}"#,
            true,
        );
        check(r#"{"parentprocess":"sshd","duser":"root","command":"/usr/sbin/sshd -R"}"#, true);
        check(r#"{"parentprocess":"chkconfig","command":"/sbin/runlevel"}"#, true);
        check(r#"{"suser":"root","duser":"nagios","command":"sh -c /usr/lib64/nagios/plugins/x"}"#, true);
    }

    #[test]
    fn all_else_is_kept() {
        for details in [
            r#"{}"#,
            r#"{"parentprocess":"beam.smp","duser":"root","command":"epmd"}"#,
            r#"{"parentprocess":"bash","duser":"root","command":"sshd -R"}"#,
            r#"{"duser":"nagios","suser":"alice","command":"/usr/lib64/nagios/plugins/x"}"#,
            r#"{"command":7}"#,
        ] {
            check(details, false);
        }
    }
}
