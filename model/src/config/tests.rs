//! Configurations and what is said about them.

use super::{Config, ConfigError};

/// Reads a configuration; the mistakes as they are shown, a line each.
fn mistakes(yaml: &str) -> String {
    match Config::from_yaml(yaml) {
        Ok(_) => String::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    }
}

#[track_caller]
fn check(yaml: &str, expected: &str) {
    assert_eq!(mistakes(yaml), expected, "{yaml}");
}

/// For messages of the YAML parser, whose words are not ours.
#[track_caller]
fn check_start(yaml: &str, start: &str) {
    let got = mistakes(yaml);
    assert!(got.starts_with(start) && got.lines().count() == 1, "{got}\n{yaml}");
}

#[test]
fn nothing_written_means_the_defaults_and_they_are_sound() {
    assert_eq!(Config::default().check(), Vec::<ConfigError>::new());
    for yaml in [
        "",
        "\n# a comment\n",
        "---\n",
        "{}",
        "ingest:\n",
        "ingest:\n  http:\n    listen:\nsink: {url: null}\n",
    ] {
        assert_eq!(Config::from_yaml(yaml), Ok(Config::default()), "{yaml:?}");
    }
}

#[test]
fn values_arrive() {
    let yaml = "
log: {data: /var/lib/mozdef, partitions: 8}
ingest:
  http:
    listen: '[::]:8080'
    tokens:
      shipper: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdeF
      7: \"0000000000000000000000000000000000000000000000000000000000000000\"
normalize: {disabled_plugins: [sshd, geoip], geoip_database: /x.mmdb}
correlate: {lateness_ms_by_source: {cloudtrail: 5}}
sink: {url: 'http://localhost:9201'}
";
    let config = Config::from_yaml(yaml).unwrap();
    assert_eq!((config.log.partitions, config.log.data.to_str()), (8, Some("/var/lib/mozdef")));
    assert_eq!(config.ingest.http.tokens.keys().collect::<Vec<_>>(), ["7", "shipper"]);
    assert_eq!(config.normalize.disabled_plugins, ["sshd", "geoip"]);
    assert_eq!(config.correlate.lateness_ms_by_source.get("cloudtrail"), Some(&5));
    assert_eq!(config.sink.url.as_deref(), Some("http://localhost:9201"));
    assert_eq!(config.log.retention_hours, Config::default().log.retention_hours);
}

#[test]
fn a_configuration_written_out_reads_back() {
    let mut config = Config::default();
    config.sink.url = Some("http://x".to_owned());
    config.correlate.rules.push("rules".into());
    // JSON is YAML.
    let yaml = serde_json::to_string_pretty(&config).unwrap();
    assert_eq!(Config::from_yaml(&yaml), Ok(config));
}

#[test]
fn unknown_keys_get_a_suggestion_and_all_are_told() {
    check(
        "ingest:\n  http:\n    lisen: 1.2.3.4:5\n    port: 80\nadmn: {}\nshards: 2\nlisten: 127.0.0.1:1\n",
        "3:5: ingest.http.lisen: unknown key, did you mean `listen`?\n\
         4:5: ingest.http.port: unknown key; known here: listen, auth, tokens, sources, quota, tls, proxies, elasticsearch, \
         github, connections_max, idle_timeout_ms, body_timeout_ms, body_bytes_max, requests_in_flight_max, \
         ack_timeout_ms, event\n\
         5:1: admn: unknown key, did you mean `admin`?\n\
         6:1: shards: unknown key, did you mean `sink.shards`?\n\
         7:1: listen: unknown key, did you mean `ingest.http.listen` or `embedded.listen` or `admin.listen`?",
    );
}

#[test]
fn values_of_the_wrong_type_or_range_say_what_was_expected() {
    check(
        "log:\n  partitions: two\n  data: 7\n  retention_hours: 0\nadmin: 127.0.0.1:9\nnormalize:\n  disabled_plugins: x\n",
        "2:15: log.partitions: expected a whole number, found `two`\n\
         3:9: log.data: expected a text (in quotes where it looks like a number or a word such as `true`), found `7`\n\
         4:20: log.retention_hours: expected a whole number from 1 to 87600, found `0`\n\
         5:8: admin: expected keys with values, found `127.0.0.1:9`\n\
         7:21: normalize.disabled_plugins: expected a list, found `x`",
    );
    check("log: {partitions: 65}", "1:19: log.partitions: expected a whole number from 1 to 64, found `65`");
    check("log: {partitions: -1}", "1:19: log.partitions: expected a whole number from 1 to 64, found `-1`");
    check("normalize: {zone_minutes: -840}", "");
    check(
        "normalize: {zone_minutes: -841}",
        "1:27: normalize.zone_minutes: expected a whole number from -840 to 840, found `-841`",
    );
    check("log: {partitions: 1.5}", "1:19: log.partitions: expected a whole number, found `1.5`");
    check(
        "log: {partitions: 99999999999999999999}",
        "1:19: log.partitions: expected a whole number, found `1e+20`",
    );
    check(
        "ingest: {http: {auth: nobody}}",
        "1:23: ingest.http.auth: expected one of `auto`, `token`, `none`, found `nobody`",
    );
    check(
        "ingest:\n  http:\n    listen: localhost:8080\n",
        "3:13: ingest.http.listen: expected an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080, found \
         `localhost:8080`",
    );
    check(
        "normalize: {disabled_plugins: [a, 5]}",
        "1:35: normalize.disabled_plugins[1]: expected a text (in quotes where it looks like a number or a word such as `true`), found `5`",
    );
    check("- a\n", "1:1: expected keys with values, found a list");
    check("just words", "1:1: expected keys with values, found `just words`");
}

#[test]
fn listeners_without_protection_are_refused_with_the_remedy() {
    check(
        "ingest:\n  http:\n    listen: 0.0.0.0:8080\n",
        "3:5: ingest.http.listen: 0.0.0.0:8080 is beyond loopback, and no token is configured; add one to \
         `ingest.http.tokens`, or write `auth: none` to let anybody send",
    );
    check("ingest: {http: {listen: '0.0.0.0:8080', auth: none}}", "");
    check("ingest: {http: {listen: '[::1]:8080'}}", "");
    check("ingest: {http: {listen: '[::ffff:127.0.0.1]:8080'}}", "");
    check(
        "ingest: {http: {auth: token}}",
        "1:17: ingest.http.auth: a token is needed, but none is configured; add one to `ingest.http.tokens`, \
         ask for certificates by `tls.client_ca_file`, or use `auth: auto`",
    );
    check(
        "ingest:\n  http:\n    tokens:\n      me: secret\n",
        "4:7: ingest.http.tokens.me: not a SHA-256 digest in 64 hex digits; write what `printf %s TOKEN | sha256sum` \
         prints, never the token itself",
    );
    let beyond = "is beyond loopback, and this listener has no authentication; use 127.0.0.1 or [::1], and reach it \
                  through an SSH tunnel or a proxy that asks for a password";
    let health = "is beyond loopback, and this listener has no authentication; use 127.0.0.1 or [::1], or write \
                  `admin.serves: health` to answer metrics and probes alone";
    check("admin: {listen: '0.0.0.0:9600'}", &format!("1:9: admin.listen: 0.0.0.0:9600 {health}"));
    check("admin: {listen: '0.0.0.0:9600', serves: health}", "");
    check("embedded: {listen: '10.0.0.1:9200'}", &format!("1:12: embedded.listen: 10.0.0.1:9200 {beyond}"));
    check("embedded: {listen: '10.0.0.1:9200'}\nsink: {url: 'http://x'}", "");
}

#[test]
fn listeners_do_not_share_an_address() {
    check(
        "admin: {listen: '127.0.0.1:8080'}",
        "1:9: admin.listen: 127.0.0.1:8080 is taken by `ingest.http.listen`; use another port",
    );
    check(
        "ingest: {http: {listen: '0.0.0.0:9200', auth: none}}",
        "embedded.listen: 127.0.0.1:9200 is taken by `ingest.http.listen`; use another port",
    );
    check("ingest: {http: {listen: '127.0.0.1:0'}}\nadmin: {listen: '127.0.0.1:0'}", "");
}

#[test]
fn values_that_do_not_go_together_are_refused() {
    check(
        "correlate: {disorder_ms: 10000}",
        "ingest.http.ack_timeout_ms: 10000 is not below `correlate.disorder_ms` (10000), so records could come too late \
         for it; lower this or raise `correlate.disorder_ms`",
    );
    check(
        "ingest: {http: {event: {depth_max: 80}, body_bytes_max: 65536}}",
        "1:17: ingest.http.event.bytes_max: 1048576 is more than a request may bring; raise `ingest.http.body_bytes_max` \
         (65536) or lower this\n\
         normalize.event.depth_max: 64 is less than the gateway takes; use at least `ingest.http.event.depth_max` (80)",
    );
}

#[test]
fn lateness_is_bounded_by_source_too() {
    check(
        "correlate: {lateness_ms_by_source: {a: 604800000, b: 604800001}}",
        "1:51: correlate.lateness_ms_by_source.b: 604800001 is more than 604800000 (7 days); use less: windows must be \
         held as long",
    );
    check(
        "correlate: {lateness_ms: 604800001}",
        "1:26: correlate.lateness_ms: expected a whole number from 0 to 604800000, found `604800001`",
    );
}

#[test]
fn a_configuration_made_by_code_is_checked_as_well() {
    let mut config = Config::default();
    config.log.partitions = 0;
    config.sink.bulk_in_flight_max = 65;
    let errors: Vec<String> = config.check().iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "log.partitions: expected a whole number from 1 to 64, found `0`",
            "sink.bulk_in_flight_max: expected a whole number from 1 to 64, found `65`"
        ]
    );
}

#[test]
fn text_that_is_no_single_sound_document_is_refused_with_its_place() {
    check_start("log:\n  data: [a\nadmin: {}\n", "3:");
    check("log: {}\nlog: {}\n", "2:1: the key `log` stands here again");
    check("log: {}\n---\nadmin: {}\n", "3:1: a second document begins here; a configuration is one");
    check("a: &a {x: 1}\nb: {<<: *a}\n", "2:5: merge keys (`<<`) are not supported");
    check_start("log:\n\tdata: x\n", "2:");
    check_start("\u{7}", "1:1: ");
    assert_eq!(
        mistakes(&"#".repeat((1 << 20) + 1)),
        "1048577 bytes, more than the 1048576 that a configuration may have"
    );
}

#[test]
fn bombs_are_refused_fast() {
    let mut anchors = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for n in 1..30 {
        anchors += &format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(","));
    }
    check_start(&anchors, "");
    assert!(!mistakes(&anchors).is_empty());
    for bomb in [
        "[".repeat(100_000),
        "a: ".repeat(1000),
        "- ".repeat(100_000),
        "{a: ".repeat(50_000),
        "? ".repeat(100_000),
    ] {
        assert!(Config::from_yaml(&bomb).is_err());
    }
    let many: String = (0..100_000).map(|n| format!("k{n}: 1\n")).collect();
    assert!(Config::from_yaml(&many).is_err());
}

#[test]
fn the_schema_describes_every_key() {
    let schema = Config::json_schema();
    let definitions = schema.get("$defs").and_then(|defs| defs.as_object()).unwrap();
    for (name, definition) in definitions.iter().chain([(&"Config".to_owned(), &schema)]) {
        for (key, property) in definition.get("properties").and_then(|p| p.as_object()).into_iter().flatten()
        {
            assert!(property.get("description").is_some(), "{name}.{key} has no description");
        }
    }
    let http = definitions.get("HttpConfig").unwrap();
    assert_eq!(http.pointer("/additionalProperties"), Some(&false.into()));
    assert_eq!(http.pointer("/properties/ack_timeout_ms/maximum"), Some(&25000.into()));
}

#[test]
fn queues_are_checked() {
    check("ingest: {amqp: {a: {}, b: {queue: x, tls: {ca_file: /ca}}}, sqs: {c: {queue: events}}}", "");
    check(
        "ingest: {amqp: {a: {servers: ['u:p@h:1']}}}",
        "1:21: ingest.amqp.a.servers[0]: `h:1` is not host:port; write it as in `rabbit.example.org:5672`, without user \
         and password",
    );
    check(
        "ingest: {amqp: {a: {}, b: {}}}",
        "1:24: ingest.amqp.b: another entry of `ingest.amqp` is known as `eventtask` too; give one of them a \
         `principal` of its own: ids of events are made with it",
    );
    check(
        "ingest: {sqs: {a: {queue: 'x/y', endpoint: sqs, role_arn: me}}}",
        "1:20: ingest.sqs.a.queue: `x/y` is neither the URL nor the name of a queue; write it as in \
         `https://sqs.eu-central-1.amazonaws.com/123456789012/events`
1:34: ingest.sqs.a.endpoint: `sqs` is no address; write it as in `https://sqs.example.org`, without user and password
1:49: ingest.sqs.a.role_arn: `me` is no ARN; write it as in `arn:aws:iam::123456789012:role/reader`",
    );
    check(
        "ingest: {sqs: {a: {queue: q, event: {depth_max: 90}}}}",
        "normalize.event.depth_max: 64 is less than `ingest.sqs.a` takes; use at least `ingest.sqs.a.event.depth_max` (90)",
    );
}

#[test]
fn inputs_with_names_are_checked() {
    let check = |yaml: &str, expected: &[&str]| {
        let config: String = format!("ingest:\n{yaml}");
        let found = mistakes(&config);
        let found: Vec<&str> = found.lines().map(|line| line.split_once(": ").unwrap().1).collect();
        assert_eq!(found, expected, "{yaml}");
    };
    assert!(Config::from_yaml("ingest: {syslog: {edge: {listen: '0.0.0.0:514', allow: [10.0.0.0/8]}, u: {listen: '127.0.0.1:8080', transport: udp}}}").is_ok());
    check(
        "  syslog:\n    edge: {listen: '0.0.0.0:514'}\n",
        &[
            "ingest.syslog.edge.listen: 0.0.0.0:514 is beyond loopback, and nothing says who may send; add networks to `allow`; 0.0.0.0/0 and ::/0 let anybody send",
        ],
    );
    check(
        "  syslog:\n    a: {listen: '127.0.0.1:8080', allow: [x]}\n",
        &[
            "ingest.syslog.a.allow: \"x\" is no network; write networks such as 10.0.0.0/8, 2001:db8::/32 or 192.0.2.7",
            "ingest.syslog.a.listen: 127.0.0.1:8080 is taken by `ingest.http.listen`; use another port",
        ],
    );
    check(
        "  papertrail:\n    acme: {url: ftp://x}\n",
        &[
            "ingest.papertrail.acme.token_file: no API token; name a file, or an environment variable in `token_env`",
            "ingest.papertrail.acme.url: \"ftp://x\" is no http address; begin with https://",
        ],
    );
    check(
        "  kafka:\n    apps: {}\n    b: {topics: ['a b', '^a[.]'], brokers: [x]}\n",
        &[
            "ingest.kafka.apps.topics: no topic is named; name one, or give a pattern such as `^audit[.]`",
            "ingest.kafka.apps.brokers: no broker is named, and the log is not on Kafka; give at least one as host:port",
            "ingest.kafka.b.topics[0]: `a b` is no name of a topic; use letters, digits, `.`, `-` and `_`, or begin a pattern with `^`",
            "ingest.kafka.b.brokers[0]: `x` is not host:port; write it as in `kafka-1.example.org:9092`",
        ],
    );
    let own = "log: {kafka: {brokers: ['a:1']}}\ningest: {kafka: {own: {topics: [mozdef.raw]}}}";
    assert!(mistakes(own).contains("`mozdef.raw` is a topic of MozDef itself"), "{}", mistakes(own));
    let elsewhere = "ingest: {kafka: {other: {topics: [mozdef.raw], brokers: ['b:1']}}}";
    assert!(Config::from_yaml(elsewhere).is_ok());
    check(
        "  pubsub:\n    logs: {subscription: logs}\n",
        &[
            "ingest.pubsub.logs.subscription: \"logs\" is no subscription's full name; write projects/PROJECT/subscriptions/NAME",
        ],
    );
}
