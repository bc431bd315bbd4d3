// SPDX-License-Identifier: GPL-2.0
//! IRC: which offers of direct connections a client makes, and what only looks like one.

mod stream;

use conntrack::{
    helper::{Caller, Helper, Listener, Pinhole, Policy, Port},
    tuple::{protocol, Direction},
};
use helpers::irc::Irc;
use proptest::{collection::vec, prelude::*};
use stream::{client, prefix, server, Said, Stream};

const IRC: Irc = Irc::new(8, 300);
/// 3232235778 as one number.
const CLIENT: &str = "192.168.1.2";
const SERVER: &str = "198.51.100.7";
const CLIENT6: &str = "2001:db8::2";
const SERVER6: &str = "2001:db8:1::7";
const OFFER: &str = "PRIVMSG bob :\x01DCC SEND file 3232235778 40000 1234\x01\r\n";

/// A connection before anything was said.
fn fresh() -> Stream<'static, Irc> {
    Stream::new(&IRC, CLIENT, SERVER)
}

/// The same once the client has registered.
fn registered(mut stream: Stream<'_, Irc>) -> Stream<'_, Irc> {
    assert_eq!(stream.client("NICK alice\r\nUSER alice 0 * :Alice\r\n"), []);
    assert_eq!(stream.server(":irc.example.org 001 alice :Welcome\r\n"), []);
    stream
}

/// What is expected after a line of the client's.
fn after_line(line: &str) -> Vec<Pinhole> {
    registered(fresh()).client(format!("{line}\r\n"))
}

/// The same for what a message between CTCP's marks says.
fn after_offer(text: &str) -> Vec<Pinhole> {
    after_line(&format!("PRIVMSG bob :\x01{text}\x01"))
}

fn after_offer6(text: &str) -> Vec<Pinhole> {
    let mut stream = registered(Stream::new(&IRC, CLIENT6, SERVER6));
    stream.client(format!("PRIVMSG bob :\x01{text}\x01\r\n"))
}

/// Anybody may call the client.
fn open(port: u16) -> Vec<Pinhole> {
    let port = Port::new(port).unwrap();
    vec![Pinhole {
        caller: Caller::Anyone,
        ..Pinhole::to_sender(protocol::TCP, port)
    }]
}

#[test]
fn limits_are_those_that_were_asked_for() {
    let policy = |most, seconds| Policy { most, seconds };
    assert_eq!(Irc::default().policies(), [policy(8, 300)]);
    assert_eq!(Irc::new(3, 60).policies(), [policy(3, 60)]);
}

#[test]
fn an_offer_opens_one_port_of_the_sender_to_anyone() {
    let [pinhole] = registered(fresh()).client(OFFER)[..] else {
        panic!()
    };
    assert_eq!(pinhole.protocol, protocol::TCP);
    assert_eq!(pinhole.listener, Listener::Sender);
    assert_eq!(pinhole.caller, Caller::Anyone);
    assert_eq!((pinhole.port.get(), pinhole.class), (40000, 0));
    assert!(!pinhole.permanent && !pinhole.helped);
}

#[test]
fn offers_of_all_kinds() {
    for text in [
        "DCC CHAT chat 3232235778 40000",
        "DCC SCHAT chat 3232235778 40000",
        "DCC SEND file 3232235778 40000",
        "DCC SEND file 3232235778 40000 1234",
        "DCC SEND file 3232235778 40000 1234 77",
        "DCC SSEND file 3232235778 40000 1234",
        "DCC TSEND file 3232235778 40000 1234",
        "DCC MOVE file 3232235778 40000 1234",
        "DCC XMIT clear 3232235778 40000 file 1234",
        "dcc send file 3232235778 40000",
        "DCC SEND file 192.168.1.2 40000",
        "DCC SEND file 03232235778 040000",
        "DCC SEND a_file_of_mine.tar.gz 3232235778 40000 1234",
        "DCC SEND \"file\" 3232235778 40000 1234",
        "DCC SEND \"a file of mine\" 3232235778 40000 1234",
        "DCC SEND \"1 2 3\" 3232235778 40000 1234",
        "DCC SEND \"3232235778 40001\" 3232235778 40000 1234",
        "DCC SEND \"a \"b\"c\" 3232235778 40000 1234",
        "DCC SEND \"\" 3232235778 40000 1234",
        "DCC SEND a\"b 3232235778 40000 1234",
        "DCC SEND \u{fc} 3232235778 40000 1234",
    ] {
        assert_eq!(after_offer(text), open(40000), "{text}");
    }
}

#[test]
fn what_offers_nothing() {
    for text in [
        "",
        "DCC",
        "DCC ",
        "DCC SEND",
        "DCC SEND ",
        "DCC SEND file",
        "DCC SEND file 3232235778",
        "DCC SEND file 3232235778 ",
        "DCC SEND 3232235778 40000",
        "DCC SEND  3232235778 40000",
        "DCC  SEND file 3232235778 40000",
        " DCC SEND file 3232235778 40000",
        "DCCSEND file 3232235778 40000",
        "XDCC SEND file 3232235778 40000",
        "ACTION DCC SEND file 3232235778 40000",
        "DCC SEND a file 3232235778 40000 1234",
        "DCC SEND \"a file 3232235778 40000 1234",
        "DCC SEND \"a 3232235778 40000 1234",
        "DCC SEND \"a file\"3232235778 40000 1234",
        "DCC SEND file 3232235778,40000",
        "DCC SEND file 3232235778 40000x",
        "DCC SEND file 3232235778 40000\t1",
        "DCC SEND file 3232235778x 40000",
        "DCC SEND file -3232235778 40000",
        "DCC SEND file 0xc0a80102 40000",
        // They speak of a connection that was offered before, or ask for an offer.
        "DCC RESUME file 40000 1234",
        "DCC RESUME file 3232235778 40000",
        "DCC ACCEPT file 40000 1234",
        "DCC ACCEPT file 3232235778 40000",
        "DCC GET file 3232235778 40000",
        "DCC SENDX file 3232235778 40000",
        "DCC SEN file 3232235778 40000",
        // The other one is to listen.
        "DCC SEND file 3232235778 0 1234 77",
        "DCC CHAT chat 3232235778 0 77",
    ] {
        assert_eq!(after_offer(text), [], "{text}");
    }
}

#[test]
fn only_the_senders_own_address() {
    for address in [
        "3405803785", // 203.0.113.9
        "203.0.113.9",
        "3325256711", // The server's.
        "198.51.100.7",
        "0",
        "0.0.0.0",
        "2130706433",
        "127.0.0.1",
        "33685696",   // In the other order.
        "7527203074", // The sender's and 2 to the 32nd.
        "99999999999",
        "192.168.1",
        "192.168.1.258",
        "192.168.1.2.",
        "::ffff:192.168.1.2",
        "2001:db8::2",
        "\u{e9}",
    ] {
        let text = format!("DCC SEND file {address} 40000 1234");
        assert_eq!(after_offer(&text), [], "{text}");
    }
}

#[test]
fn no_ports_of_services_and_none_that_cannot_be() {
    for (port, expected) in [
        ("1024", open(1024)),
        ("65535", open(65535)),
        ("0", vec![]),
        ("1", vec![]),
        ("1023", vec![]),
        ("65536", vec![]),
        ("65615", vec![]),
        ("99999999999", vec![]),
        ("-1", vec![]),
        ("", vec![]),
    ] {
        for text in ["DCC SEND file 3232235778", "DCC CHAT chat 192.168.1.2"] {
            let text = format!("{text} {port}");
            assert_eq!(after_offer(&text), expected, "{text}");
        }
    }
}

#[test]
fn offers_over_ipv6() {
    for address in ["2001:db8::2", "2001:DB8:0:0:0:0:0:2"] {
        let text = format!("DCC SEND file {address} 40000 1234");
        assert_eq!(after_offer6(&text), open(40000), "{text}");
    }
    for address in [
        "2001:db8::3",
        "3232235778",
        "192.168.1.2",
        "2",
        "::",
        "[2001:db8::2]",
    ] {
        let text = format!("DCC SEND file {address} 40000 1234");
        assert_eq!(after_offer6(&text), [], "{text}");
    }
}

#[test]
fn messages_in_all_spellings() {
    let dcc = ":\x01DCC SEND file 3232235778 40000 1234\x01";
    for begin in [
        "PRIVMSG bob ",
        "privmsg bob ",
        "PrivMsg bob,carol ",
        "PRIVMSG  bob  ",
        ":alice PRIVMSG bob ",
        ":alice!user@host  PRIVMSG bob ",
        "@+x=y PRIVMSG bob ",
        "@label=1;+x :alice PRIVMSG bob ",
    ] {
        assert_eq!(after_line(&format!("{begin}{dcc}")), open(40000), "{begin}");
    }
    for begin in [
        "NOTICE bob ",
        "PRIVMSG ",
        "PRIVMSG",
        "PRIVMSG : ",
        "PRIVMSG :bob ",
        "PRIVMSG bob :",
        "PRIVMSG bob x ",
        "PRIVMSG bob :x ",
        "PRIVMSG bob",
        "XPRIVMSG bob ",
        "PRIVMSGX bob ",
        " PRIVMSG bob ",
        "PRIVMSG\tbob ",
        "PRIVMSG bob \t",
        "x PRIVMSG bob ",
        ":alice :alice PRIVMSG bob ",
        ":alice @x PRIVMSG bob ",
        "@x @y PRIVMSG bob ",
        "@x:alice!",
        "TOPIC #x ",
        "QUIT ",
        "",
    ] {
        assert_eq!(after_line(&format!("{begin}{dcc}")), [], "{begin}");
    }
}

#[test]
fn what_is_quoted_is_no_offer() {
    let dcc = "DCC SEND file 3232235778 40000 1234";
    for line in [
        format!("PRIVMSG #x :look: \x01{dcc}\x01"),
        format!("PRIVMSG #x : \x01{dcc}\x01"),
        format!("PRIVMSG #x :{dcc}"),
        format!("PRIVMSG #x :{dcc}\x01"),
        format!("PRIVMSG #x :<bob> PRIVMSG alice :\x01{dcc}\x01"),
        format!("PRIVMSG #x :\x01ACTION \x01{dcc}\x01"),
        format!("PRIVMSG #x :\x01ACTION x\x01\x01{dcc}\x01"),
        format!("PRIVMSG #x :\x01\x01{dcc}\x01"),
        format!("PRIVMSG #x :x\rPRIVMSG bob :\x01{dcc}\x01"),
        format!("TOPIC #x :PRIVMSG bob :\x01{dcc}\x01"),
        format!("QUIT :PRIVMSG bob :\x01{dcc}\x01"),
        // It does not end, or not there.
        format!("PRIVMSG bob :\x01{dcc}"),
        format!("PRIVMSG bob :\x01{dcc}\x01 "),
        format!("PRIVMSG bob :\x01{dcc}\x01x"),
        format!("PRIVMSG bob :\x01{dcc}\x01\x01"),
        format!("PRIVMSG bob :\x01{dcc}\x01x\x01"),
        "PRIVMSG bob :\x01DCC SEND \x01 3232235778 40000\x01".into(),
        "PRIVMSG bob :\x01".into(),
        "PRIVMSG bob :".into(),
    ] {
        assert_eq!(after_line(&line), [], "{line}");
    }
}

#[test]
fn what_the_server_says_is_not_read() {
    let mut stream = registered(fresh());
    for own in [CLIENT, SERVER] {
        let line = format!("PRIVMSG alice :\x01DCC SEND file {own} 40000\x01\r\n");
        assert_eq!(stream.server(&line), []);
        assert_eq!(stream.server(format!(":alice!user@host {line}")), []);
    }
    assert_eq!(stream.client(OFFER), open(40000));
}

#[test]
fn split_anywhere_and_sent_again_it_counts_once() {
    let begin = client("NICK alice\r\n");
    for at in 0..=OFFER.len() {
        let mut dialogue = vec![begin.clone(), client(&OFFER[..at]), client(&OFFER[at..])];
        dialogue.retain(|(_, bytes)| !bytes.is_empty());
        for again in [false, true] {
            assert_eq!(fresh().dialogue(&dialogue, again), open(40000), "{at}");
        }
        if at < OFFER.len() {
            dialogue.pop();
            assert_eq!(fresh().dialogue(&dialogue, true), [], "{at}");
        }
    }
}

#[test]
fn some_offers_in_one_packet_and_not_too_many() {
    let offer = |port| format!("PRIVMSG bob :\x01DCC CHAT chat 3232235778 {port}\x01\r\n");
    let offers = (2000..2020).map(offer).collect::<Vec<_>>().concat();
    let mut stream = registered(fresh());
    let found: Vec<u16> = stream
        .client(offers)
        .iter()
        .map(|pinhole| pinhole.port.get())
        .collect();
    assert_eq!(
        found,
        (2012..2020).collect::<Vec<u16>>(),
        "the newest count"
    );
}

#[test]
fn whoever_does_not_begin_as_an_irc_client_is_none() {
    for first in [
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n",
        "GET /x HTTP/1.0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\n\r\n",
        "PRIVMSG bob :hello\r\n",
        "JOIN #x\r\n",
        ":alice NICK alice\r\n",
        " NICK alice\r\n",
        "NICKS alice\r\n",
        "NICK:alice\r\n",
        "EHLO x\r\n",
        "\r\n",
        "\u{16}\u{3}\u{1}\n",
        OFFER,
    ] {
        let mut stream = fresh();
        assert_eq!(
            stream.client(format!("{first}NICK alice\r\n{OFFER}")),
            [],
            "{first}"
        );
        stream.server(":irc.example.org 001 alice :Welcome\r\n");
        stream.client("NICK alice\r\n");
        assert_eq!(stream.client(OFFER), [], "{first}");
    }
}

#[test]
fn a_first_line_that_cannot_be_read_is_none_of_irc() {
    for length in [513, 2000] {
        let long = format!("NICK {}\r\n", "x".repeat(length));
        let mut stream = fresh();
        assert_eq!(stream.client(format!("{long}NICK alice\r\n{OFFER}")), []);
        assert_eq!(stream.client(OFFER), []);
    }
    let mut stream = fresh();
    stream.client("PO");
    stream.lose(&client("ST / HTTP/1.1\r\n"));
    stream.client("X: y\r\n");
    stream.client("NICK alice\r\n");
    assert_eq!(stream.client(OFFER), []);
}

#[test]
fn the_first_commands_of_irc_clients() {
    for first in [
        "CAP LS 302",
        "PASS x",
        "NICK alice",
        "nick alice",
        "USER alice 0 * :Alice",
        "SERVICE x * * 0 0 :x",
        "WEBIRC x y z 192.0.2.1",
        "AUTHENTICATE PLAIN",
        "PING x",
        "PROTOCTL NAMESX",
        "STARTTLS",
    ] {
        let mut stream = fresh();
        assert_eq!(
            stream.client(format!("{first}\r\n{OFFER}")),
            open(40000),
            "{first}"
        );
        let mut stream = fresh();
        stream.server(":irc.example.org NOTICE * :Looking up your name\r\n");
        stream.client(format!("{first}\n"));
        assert_eq!(stream.client(OFFER), open(40000), "{first}");
    }
}

#[test]
fn picked_up_in_midstream_nothing_is_read() {
    // How it began is not known: a reset that only the firewall has seen makes any stream one
    // that is met in its middle.
    let mut stream = fresh().midstream();
    assert_eq!(stream.client(OFFER.repeat(2)), []);
    assert_eq!(stream.client(format!("NICK alice\r\n{OFFER}")), []);
}

#[test]
fn long_lines_and_gaps_are_passed_over() {
    let mut stream = registered(fresh());
    let name = "x".repeat(600);
    let long = format!("PRIVMSG bob :\x01DCC SEND {name} 3232235778 40000\x01\r\n");
    assert_eq!(stream.client(long), []);
    assert_eq!(stream.client(OFFER), open(40000));
    stream.lose(&client("PRIVMSG bob :"));
    assert_eq!(stream.client("x\r\n"), []);
    assert_eq!(stream.client(OFFER), open(40000));
}

/// Something that one end may say.
fn any_said() -> impl Strategy<Value = Said> {
    let lines = prop_oneof![
        4 => Just(OFFER),
        4 => Just("PRIVMSG bob :\x01DCC CHAT chat 192.168.1.2 40001\x01\n"),
        2 => Just("PRIVMSG bob :\x01DCC SEND f 203.0.113.9 40002\x01\r\n"),
        2 => Just("PRIVMSG bob :\x01DCC SEND f 3232235778 1023\x01\r\n"),
        2 => Just("PRIVMSG bob :hello\r\n"),
        1 => Just("x"),
        1 => Just("\r\n"),
    ];
    prop_oneof![
        4 => lines.clone().prop_map(client),
        1 => lines.prop_map(server),
        1 => vec(any::<u8>(), 1..5).prop_map(client),
    ]
}

fn any_dialogue() -> impl Strategy<Value = Vec<Said>> {
    vec(any_said(), 0..20).prop_map(|said| {
        let mut all = vec![client("CAP LS\r\nNICK alice\r\n")];
        all.extend(said);
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn whatever_comes_it_does_not_panic(
        segments in vec((any::<bool>(), 0_u32..400, vec(any::<u8>(), 1..200)), 0..20), whole: bool
    ) {
        let mut stream = if whole { fresh() } else { fresh().midstream() };
        for (reply, at, bytes) in segments {
            let direction = if reply { Direction::Reply } else { Direction::Original };
            stream.segment(direction, at, &bytes);
        }
    }

    #[test]
    fn whatever_is_in_an_offer_it_does_not_panic(
        begin in "(@[a-z ]{0,3})?(:[a-z ]{0,3})?(PRIVMSG )?[a-z]{0,2} ?:?\x01?(DCC )?(SEND )?",
        rest in vec(any::<u8>(), 0..60), end in "\x01?"
    ) {
        let mut stream = registered(fresh());
        stream.client([begin.as_bytes(), &rest, end.as_bytes(), b"\r\n"].concat());
    }

    #[test]
    fn however_it_is_cut_the_same_is_found(
        dialogue in any_dialogue(), sizes in vec(1_usize..80, 1..10), again: bool, whole: bool
    ) {
        let stream = || if whole { fresh() } else { fresh().midstream() };
        let found = stream().dialogue(&dialogue, false);
        prop_assert_eq!(stream().pieces(&dialogue, &sizes, again), found);
    }

    #[test]
    fn of_a_beginning_no_more_is_found_than_of_the_whole(
        dialogue in any_dialogue(), len in 0_usize..900, sizes in vec(1_usize..80, 1..10)
    ) {
        let all = fresh().dialogue(&dialogue, false);
        let part = fresh().pieces(&prefix(&dialogue, len), &sizes, false);
        prop_assert!(all.starts_with(&part), "{:?} of {:?}", part, all);
    }

    #[test]
    fn of_what_is_left_when_segments_are_lost_no_more_is_found(
        dialogue in any_dialogue(), lost in vec(any::<bool>(), 21)
    ) {
        let all = fresh().dialogue(&dialogue, false);
        let mut stream = fresh();
        for (said, lost) in dialogue.iter().zip(lost) {
            if lost {
                stream.lose(said);
            } else {
                stream.send(said);
            }
        }
        let mut rest = all.iter();
        for pinhole in &stream.found {
            prop_assert!(rest.any(|one| one == pinhole), "{:?} of {:?}", stream.found, all);
        }
    }
}
