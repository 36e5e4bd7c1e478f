//! The section `[mail]`.

use super::*;

/// Lines of a section that is set up, without one of its keys.
pub(super) fn set_up_without(name: &str) -> String {
    [
        ("transport", "\"smtp\""),
        ("host", "\"mail.example.com\""),
        ("username", "\"billing\""),
        ("password", "\"hunter2\""),
        ("from", "\"billing@example.com\""),
        ("admins", "[\"admin@example.com\"]"),
        ("folder", "\"/var/lib/bursar/mail\""),
    ]
    .iter()
    .filter(|(key, _)| *key != name)
    .fold(String::new(), |lines, (key, value)| format!("{lines}{key} = {value}\n"))
}

fn mail(lines: &str) -> Mail {
    load(&format!("[mail]\n{lines}")).mail
}

/// What is wrong with lines, the places and examples left out.
fn wrong(lines: &str) -> String {
    problems(&format!("[mail]\n{lines}"))
}

#[test]
fn mail_is_not_set_up_by_default_and_nothing_of_it_is_asked_for() {
    let mail = mail("");
    assert!(matches!(mail.transport, MailTransport::NotSetUp) && mail.from.is_none() && mail.admins.is_empty());
    assert!(matches!(super::load("[mail]\ntransport = \"off\"\n").mail.transport, MailTransport::Off));
}

#[test]
fn a_mail_server_is_taken_with_the_usual_port_of_its_security() {
    let base = set_up_without("");
    for (more, port) in [("", 465), ("security = \"starttls\"\n", 587), ("port = 2525\n", 2525)] {
        let mail = mail(&format!("{base}{more}"));
        let MailTransport::Smtp(server) = mail.transport else { panic!("{more}") };
        assert_eq!((server.host.as_str(), server.port), ("mail.example.com", port));
        assert_eq!(server.credentials.unwrap().1.expose(), "hunter2");
    }
    let lines = format!("{base}recipients = [\"ROOT/acme/alice=Billing@Example.com\", \"ROOT/a=b=c@example.com\"]\n");
    let recipients = mail(&lines).recipients;
    assert_eq!((recipients[0].0.name.as_str(), recipients[0].1.as_str()), ("alice", "Billing@example.com"));
    assert_eq!((recipients[1].0.name.as_str(), recipients[1].1.as_str()), ("a=b", "c@example.com"));
}

#[test]
fn plain_text_to_another_machine_is_refused_unless_it_is_said() {
    let base = set_up_without("");
    let none = format!("{base}security = \"none\"\n");
    assert!(wrong(&none).contains("mail and password would cross the network in plain text"), "{}", wrong(&none));
    assert!(matches!(mail(&format!("{none}allow_unencrypted = true\n")).transport, MailTransport::Smtp(_)));
    let local = format!("{}host = \"127.0.0.1\"\nsecurity = \"none\"\n", set_up_without("host"));
    assert!(matches!(mail(&local).transport, MailTransport::Smtp(server) if server.port == 25));
}

#[test]
fn each_mistake_of_the_mail_section_is_told_with_what_to_do() {
    let with = |key: &str, line: &str| format!("{}{line}\n", set_up_without(key));
    for (lines, told) in [
        (
            with("transport", "transport = \"mail\""),
            "mail.transport is \"mail\" and must be smtp, folder, off or empty",
        ),
        (with("transport", ""), "mail.transport is empty although mail.host is given"),
        (with("host", ""), "mail.host must be given with transport \"smtp\""),
        (with("host", "host = \"smtps://mail.example.com\""), "must be a name alone"),
        (with("host", "host = \"mail.example.com:25\""), "the port stands in mail.port"),
        (with("from", ""), "mail.from must be given"),
        (with("from", "from = \"Billing\""), "mail.from is no sender: an address is"),
        (with("admins", ""), "mail.admins must name somebody"),
        (with("admins", "admins = [\"root\"]"), "mail.admins holds \"root\", which is no address"),
        (with("username", ""), "mail.password is set without mail.username"),
        (with("password", ""), "mail.username is set without mail.password"),
        (with("", "security = \"ssl\""), "mail.security is \"ssl\" and must be tls, starttls or none"),
        (with("", "recipients = [\"ROOT/alice\"]"), "an account, an equals sign and an address are wanted"),
        (with("", "recipients = [\"alice=a@example.com\"]"), "in front of = stands no account"),
        (with("", "recipients = [\"ROOT/alice=a\"]"), "behind = stands no address"),
        (with("", "retry_minutes = 60"), "mail.retry_longest_minutes must not be less than mail.retry_minutes"),
        (with("", "digest = \"@daily\""), "mail.digest is \"@daily\", no schedule"),
        (format!("{}folder = \"\"\n", with("folder", "").replace("smtp", "folder")), "mail.folder must be given"),
    ] {
        let all = wrong(&lines);
        assert!(all.contains(told), "{told} is missing in\n{all}");
        assert!(!all.contains("hunter2"), "{all}");
    }
}
