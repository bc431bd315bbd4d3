// SPDX-License-Identifier: GPL-2.0
//! FTP: which data connections a control connection announces, and which it does not.

mod stream;

use std::net::IpAddr;

use conntrack::{
    helper::{Caller, Helper, Listener, Pinhole, Policy, Port},
    tuple::{protocol, Address, Direction},
};
use helpers::ftp::Ftp;
use proptest::{collection::vec, prelude::*};
use stream::{client, prefix, server, Said, Stream};

const STRICT: Ftp = Ftp { loose: false };
const LOOSE: Ftp = Ftp { loose: true };
const CLIENT: &str = "192.168.1.2";
const SERVER: &str = "198.51.100.7";
const CLIENT6: &str = "2001:db8::2";
const SERVER6: &str = "2001:db8:1::7";

/// A connection before anything was said.
fn fresh(ftp: &Ftp) -> Stream<'_, Ftp> {
    Stream::new(ftp, CLIENT, SERVER)
}

fn fresh6(ftp: &Ftp) -> Stream<'_, Ftp> {
    Stream::new(ftp, CLIENT6, SERVER6)
}

/// The same after the log-in.
fn logged_in(mut stream: Stream<'_, Ftp>) -> Stream<'_, Ftp> {
    for said in login() {
        assert_eq!(stream.send(&said), []);
    }
    stream
}

fn login() -> Vec<Said> {
    vec![
        server("220-Welcome\r\n220 ready\r\n"),
        client("USER anonymous\r\n"),
        server("331 Password, please\r\n"),
        client("PASS me@example.org\r\n"),
        server("230 OK\r\n"),
    ]
}

/// What is expected after a command of the client's.
fn after_command(ftp: &Ftp, line: &str) -> Vec<Pinhole> {
    logged_in(fresh(ftp)).client(format!("{line}\r\n"))
}

fn after_command6(ftp: &Ftp, line: &str) -> Vec<Pinhole> {
    logged_in(fresh6(ftp)).client(format!("{line}\r\n"))
}

/// What is expected after an answer of the server's to PASV and EPSV.
fn after_reply(ftp: &Ftp, line: &str) -> Vec<Pinhole> {
    answer(logged_in(fresh(ftp)), line)
}

fn after_reply6(ftp: &Ftp, line: &str) -> Vec<Pinhole> {
    answer(logged_in(fresh6(ftp)), line)
}

fn answer(mut stream: Stream<'_, Ftp>, line: &str) -> Vec<Pinhole> {
    assert_eq!(stream.client("PASV\r\nEPSV\r\n"), []);
    stream.server(format!("{line}\r\n"))
}

/// The other end may call the one that has announced this.
fn own(port: u16) -> Vec<Pinhole> {
    vec![Pinhole::to_sender(protocol::TCP, Port::new(port).unwrap())]
}

/// The same for a third host.
fn others(address: &str, port: u16) -> Vec<Pinhole> {
    let address = Address::from(address.parse::<IpAddr>().unwrap());
    own(port)
        .into_iter()
        .map(|pinhole| Pinhole {
            listener: Listener::Other(address),
            ..pinhole
        })
        .collect()
}

#[test]
fn one_data_connection_at_a_time() {
    let policy = Policy {
        most: 1,
        seconds: 300,
    };
    assert_eq!(STRICT.policies(), [policy]);
    let [pinhole] = after_command(&STRICT, "PORT 192,168,1,2,4,1")[..] else {
        panic!()
    };
    assert_eq!(pinhole.protocol, protocol::TCP);
    assert_eq!(pinhole.listener, Listener::Sender);
    assert_eq!(pinhole.caller, Caller::OtherEnd);
    assert_eq!((pinhole.port.get(), pinhole.class), (1025, 0));
    assert!(!pinhole.permanent && !pinhole.helped);
}

#[test]
fn port_in_all_spellings() {
    for line in [
        "PORT 192,168,1,2,156,64",
        "port 192,168,1,2,156,64",
        "PoRt   192,168,1,2,156,64  ",
        "PORT 192, 168, 1, 2, 156, 64",
        "PORT 192,168,001,002,156,064",
    ] {
        assert_eq!(after_command(&STRICT, line), own(40000), "{line}");
        assert_eq!(after_command(&LOOSE, line), own(40000), "{line}");
    }
}

#[test]
fn what_is_no_port_command() {
    for line in [
        "PORT",
        "PORT ",
        "PORT 192,168,1,2,156",
        "PORT 192,168,1,2,156,",
        "PORT 192,168,1,2,156,64,1",
        "PORT 192,168,1,2,156,64 x",
        "PORT 192,168,1,2,156,64)",
        "PORT (192,168,1,2,156,64)",
        "PORT 192.168.1.2.156.64",
        "PORT 192,168,1,2,,64",
        "PORT 192 ,168,1,2,156,64",
        "PORT 192,168,1,2,-156,64",
        "PORT 192,168,1,2,+156,64",
        "PORT\t192,168,1,2,156,64",
        "PORT192,168,1,2,156,64",
        "PORTS 192,168,1,2,156,64",
        "XPORT 192,168,1,2,156,64",
        " PORT 192,168,1,2,156,64",
        "SITE PORT 192,168,1,2,156,64",
        "STOR PORT 192,168,1,2,156,64",
        "STOR x\rPORT 192,168,1,2,156,64",
        "227 (192,168,1,2,156,64)",
        "LPRT 4,4,192,168,1,2,2,156,64",
        // Numbers that are no bytes.
        "PORT 192,168,1,2,256,64",
        "PORT 192,168,1,2,156,256",
        "PORT 192,168,1,258,156,64",
        "PORT 192,168,257,2,156,64",
        "PORT 448,168,1,2,156,64",
        "PORT 192,168,1,2,156,65600",
        "PORT 192,168,1,2,156,99999999999",
        "PORT 192,168,1,4294967298,156,64",
        // Port 0.
        "PORT 192,168,1,2,0,0",
    ] {
        assert_eq!(after_command(&STRICT, line), [], "{line}");
        assert_eq!(after_command(&LOOSE, line), [], "{line}");
    }
}

#[test]
fn ports_of_services_only_where_that_is_asked_for() {
    for (low, high, port) in [(1, 0, 1), (21, 0, 21), (255, 3, 1023)] {
        let line = format!("PORT 192,168,1,2,{high},{low}");
        assert_eq!(after_command(&STRICT, &line), [], "{line}");
        assert_eq!(after_command(&LOOSE, &line), own(port), "{line}");
        let line = format!("EPRT |1|192.168.1.2|{port}|");
        assert_eq!(after_command(&STRICT, &line), [], "{line}");
        assert_eq!(after_command(&LOOSE, &line), own(port), "{line}");
        let line = format!("227 (198,51,100,7,{high},{low})");
        assert_eq!(after_reply(&STRICT, &line), [], "{line}");
        assert_eq!(after_reply(&LOOSE, &line), own(port), "{line}");
        let line = format!("229 (|||{port}|)");
        assert_eq!(after_reply(&STRICT, &line), [], "{line}");
        assert_eq!(after_reply(&LOOSE, &line), own(port), "{line}");
    }
    assert_eq!(after_command(&STRICT, "PORT 192,168,1,2,4,0"), own(1024));
    assert_eq!(after_reply(&STRICT, "229 (|||1024|)"), own(1024));
    assert_eq!(after_reply(&STRICT, "229 (|||65535|)"), own(65535));
}

#[test]
fn ports_that_cannot_be() {
    for port in [
        "0",
        "65536",
        "65615",
        "99999999999",
        "-1",
        "",
        " ",
        "1024x",
        " 1024",
    ] {
        for ftp in [STRICT, LOOSE] {
            let line = format!("EPRT |1|192.168.1.2|{port}|");
            assert_eq!(after_command(&ftp, &line), [], "{line}");
            let line = format!("229 (|||{port}|)");
            assert_eq!(after_reply(&ftp, &line), [], "{line}");
        }
    }
}

#[test]
fn eprt_in_all_spellings() {
    for line in [
        "EPRT |1|192.168.1.2|40000|",
        "eprt |1|192.168.1.2|40000|",
        "EPRT  !1!192.168.1.2!40000! ",
        "EPRT ~1~192.168.1.2~40000~",
        "EPRT x1x192.168.1.2x40000x",
        "EPRT |1|192.168.1.2|040000|",
    ] {
        assert_eq!(after_command(&STRICT, line), own(40000), "{line}");
        assert_eq!(after_command6(&STRICT, line), [], "{line}");
        assert_eq!(after_command6(&LOOSE, line), [], "{line}");
    }
    for line in [
        "EPRT |2|2001:db8::2|40000|",
        "Eprt #2#2001:DB8:0:0:0:0:0:2#40000#",
    ] {
        assert_eq!(after_command6(&STRICT, line), own(40000), "{line}");
        assert_eq!(after_command(&STRICT, line), [], "{line}");
        assert_eq!(after_command(&LOOSE, line), [], "{line}");
    }
}

#[test]
fn what_is_no_eprt_command() {
    for line in [
        "EPRT",
        "EPRT |",
        "EPRT |1",
        "EPRT |1|192.168.1.2",
        "EPRT |1|192.168.1.2|40000",
        "EPRT |1|192.168.1.2|40000!",
        "EPRT |1|192.168.1.2|40000|x",
        "EPRT |1|192.168.1.2|40000|1|",
        "EPRT 1|192.168.1.2|40000|",
        "EPRT ||192.168.1.2|40000|",
        "EPRT |3|192.168.1.2|40000|",
        "EPRT |2|192.168.1.2|40000|",
        "EPRT |11|192.168.1.2|40000|",
        "EPRT |1||40000|",
        "EPRT |||40000|",
        "EPRT |1|192.168.1|40000|",
        "EPRT |1|192.168.1.256|40000|",
        "EPRT |1|192.168.1.2 |40000|",
        "EPRT |1|\u{e9}|40000|",
        "EPRT .1.192.168.1.2.40000.",
        "EPRT \u{7f}1\u{7f}192.168.1.2\u{7f}40000\u{7f}",
        "EPRT \u{1}1\u{1}192.168.1.2\u{1}40000\u{1}",
    ] {
        assert_eq!(after_command(&STRICT, line), [], "{line}");
        assert_eq!(after_command(&LOOSE, line), [], "{line}");
    }
    for line in [
        "EPRT |1|2001:db8::2|40000|",
        "EPRT :2:2001:db8::2:40000:",
        "EPRT |2|2001:db8::2%1|40000|",
        "EPRT |2|[2001:db8::2]|40000|",
        "PORT 192,168,1,2,156,64",
    ] {
        assert_eq!(after_command6(&STRICT, line), [], "{line}");
        assert_eq!(after_command6(&LOOSE, line), [], "{line}");
    }
    let mut raw = logged_in(fresh(&LOOSE));
    assert_eq!(raw.client(b"EPRT |1|\xff\xfe|40000|\r\n"), []);
}

#[test]
fn third_hosts_only_where_that_is_asked_for() {
    for line in ["PORT 203,0,113,9,156,64", "EPRT |1|203.0.113.9|40000|"] {
        assert_eq!(after_command(&STRICT, line), [], "{line}");
        assert_eq!(after_command(&LOOSE, line), others("203.0.113.9", 40000));
    }
    let line = "EPRT |2|2001:db8:9::9|40000|";
    assert_eq!(after_command6(&STRICT, line), []);
    assert_eq!(after_command6(&LOOSE, line), others("2001:db8:9::9", 40000));
    let line = "227 (203,0,113,9,156,64)";
    assert_eq!(after_reply(&STRICT, line), []);
    assert_eq!(after_reply(&LOOSE, line), others("203.0.113.9", 40000));
    // The other end is a third host, too.
    assert_eq!(after_command(&STRICT, "PORT 198,51,100,7,156,64"), []);
    assert_eq!(after_reply(&STRICT, "227 (192,168,1,2,156,64)"), []);
}

#[test]
fn what_is_nobodys_address_is_no_third_host() {
    for address in ["0.0.0.0", "127.0.0.1", "255.255.255.255", "224.0.0.1"] {
        let line = format!("PORT {},156,64", address.replace('.', ","));
        assert_eq!(after_command(&LOOSE, &line), [], "{line}");
        let line = format!("EPRT |1|{address}|40000|");
        assert_eq!(after_command(&LOOSE, &line), [], "{line}");
        let line = format!("227 ({},156,64)", address.replace('.', ","));
        assert_eq!(after_reply(&LOOSE, &line), [], "{line}");
    }
    for address in ["::", "::1", "ff02::1"] {
        let line = format!("EPRT |2|{address}|40000|");
        assert_eq!(after_command6(&LOOSE, &line), [], "{line}");
    }
}

#[test]
fn answers_to_pasv_in_all_spellings() {
    for line in [
        "227 Entering Passive Mode (198,51,100,7,156,64).",
        "227 Entering Passive Mode (198,51,100,7,156,64)",
        "227 Entering Passive Mode 198,51,100,7,156,64",
        "227 Entering Passive Mode. 198,51,100,7,156,64.",
        "227 =198,51,100,7,156,64",
        "227 (198,51,100,7,156,64)",
        "227 198,51,100,7,156,64",
        "227 Mode passif (=198, 51, 100, 7, 156, 64) ok",
        "227 Passive (a, b) [198,51,100,7,156,64]",
    ] {
        assert_eq!(after_reply(&STRICT, line), own(40000), "{line}");
        assert_eq!(after_reply(&LOOSE, line), own(40000), "{line}");
    }
}

#[test]
fn what_is_no_answer_to_pasv() {
    for line in [
        "227",
        "227 ",
        "227-Entering Passive Mode (198,51,100,7,156,64)",
        "227(198,51,100,7,156,64)",
        " 227 (198,51,100,7,156,64)",
        "1227 (198,51,100,7,156,64)",
        "2277 (198,51,100,7,156,64)",
        "200 227 (198,51,100,7,156,64)",
        "227 Entering mode 2 (198,51,100,7,156,64)",
        "227 (198,51,100,7,156)",
        "227 (198,51,100,7,156,64,1)",
        "227 (198,51,100,7,156,256)",
        "227 (198,51,100,7,256,64)",
        "227 (198,51,100,263,156,64)",
        "227 (198,51,100,7,0,0)",
        "227 (198,51,100,7,156,99999999999)",
        "227 (198.51.100.7,156,64)",
        "227 (198,51,100,7,156;64)",
        "227 (|||40000|)",
        "PORT 198,51,100,7,156,64",
    ] {
        assert_eq!(after_reply(&STRICT, line), [], "{line}");
        assert_eq!(after_reply(&LOOSE, line), [], "{line}");
    }
}

#[test]
fn answers_to_epsv_in_all_spellings() {
    for line in [
        "229 Entering Extended Passive Mode (|||40000|)",
        "229 Entering Extended Passive Mode (|||40000|).",
        "229 (|||40000|)",
        "229 ok(!!!40000!)",
        "229 Mode 2 (~~~40000~)",
    ] {
        assert_eq!(after_reply(&STRICT, line), own(40000), "{line}");
        assert_eq!(after_reply6(&STRICT, line), own(40000), "{line}");
    }
    for line in [
        "229 (|1||40000|)",
        "229 (||198.51.100.7|40000|)",
        "229 (|1|198.51.100.7|40000|)",
    ] {
        assert_eq!(after_reply(&STRICT, line), own(40000), "{line}");
        assert_eq!(after_reply6(&STRICT, line), [], "{line}");
    }
    for line in [
        "229 (|2||40000|)",
        "229 (||2001:db8:1::7|40000|)",
        "229 (|2|2001:db8:1::7|40000|)",
    ] {
        assert_eq!(after_reply6(&STRICT, line), own(40000), "{line}");
        assert_eq!(after_reply(&STRICT, line), [], "{line}");
    }
}

#[test]
fn what_is_no_answer_to_epsv() {
    for line in [
        "229",
        "229 ",
        "229 (",
        "229 (|",
        "229 |||40000|",
        "229-(|||40000|)",
        "229(|||40000|)",
        "229 (|||40000)",
        "229 (|||40000|",
        "229 (|||40000|x)",
        "229 (|||40000!)",
        "229 (||40000|)",
        "229 (||||40000|)",
        "229 (   40000 )",
        "229 (|3||40000|)",
        "229 (||x|40000|)",
        "229 (198,51,100,7,156,64)",
        // Of another host: the client would not call it, so nobody may.
        "229 (|1|203.0.113.9|40000|)",
        "229 (||192.168.1.2|40000|)",
    ] {
        assert_eq!(after_reply(&STRICT, line), [], "{line}");
        assert_eq!(after_reply(&LOOSE, line), [], "{line}");
    }
}

#[test]
fn a_227_is_of_ipv4() {
    let line = "227 (198,51,100,7,156,64)";
    assert_eq!(after_reply6(&STRICT, line), []);
    assert_eq!(after_reply6(&LOOSE, line), []);
}

#[test]
fn only_an_answer_counts() {
    for reply in ["227 (198,51,100,7,156,64)\r\n", "229 (|||40000|)\r\n"] {
        let mut stream = logged_in(fresh(&STRICT));
        assert_eq!(stream.server(reply), [], "nobody has asked: {reply}");
        stream.client(
            "NOOP\r\nPASV x\r\nEPSV 3\r\nXPASV\r\n PASV\r\nPASVE\r\nSITE PASV\r\nSTOR EPSV\r\n",
        );
        assert_eq!(stream.server(reply), [], "nobody has asked: {reply}");
    }
    let mut stream = logged_in(fresh(&STRICT));
    stream.client("EPSV\r\n");
    assert_eq!(stream.server("227 (198,51,100,7,156,64)\r\n"), []);
    assert_eq!(stream.server("229 (|||40000|)\r\n"), own(40000));
    stream.client("PASV\r\n");
    assert_eq!(stream.server("229 (|||40001|)\r\n"), []);
    assert_eq!(stream.server("227 (198,51,100,7,156,64)\r\n"), own(40000));
}

#[test]
fn one_answer_to_each_command() {
    for (command, replies) in [
        (
            "pasv \r\n",
            [
                "227 (198,51,100,7,156,64)\r\n",
                "227 =198,51,100,7,156,65\r\n",
            ],
        ),
        ("epsv\r\n", ["229 (|||40000|)\r\n", "229 (|||40001|)\r\n"]),
    ] {
        let mut stream = logged_in(fresh(&STRICT));
        stream.client(command);
        assert_eq!(stream.server(replies[0]), own(40000));
        assert_eq!(stream.server(replies[1]), []);
        stream.client(command.repeat(2));
        assert_eq!(
            stream.server(replies.concat()),
            [own(40000), own(40001)].concat()
        );
        assert_eq!(stream.server(replies[1]), []);
        // An answer that says nothing is one, too.
        stream.client(command);
        stream.server(format!("{} no\r\n", &replies[0][..3]));
        assert_eq!(stream.server(replies[0]), []);
        // Nobody collects answers.
        stream.client(command.repeat(1000));
        let all: usize = (0..10).map(|_| stream.server(replies[0]).len()).sum();
        assert_eq!(all, 4);
    }
}

#[test]
fn epsv_asks_for_a_family_or_for_nothing() {
    let reply = "229 (|||40000|)\r\n";
    for (argument, v4, v6) in [
        ("", true, true),
        (" ", true, true),
        (" 1", true, false),
        (" 2", false, true),
        ("  2 ", false, true),
        (" 3", false, false),
        (" 12", false, false),
        (" ALL", false, false),
        (" all", false, false),
    ] {
        for (asks, stream) in [(v4, fresh(&STRICT)), (v6, fresh6(&STRICT))] {
            let mut stream = logged_in(stream);
            stream.client(format!("EPSV{argument}\r\n"));
            let expected = if asks { own(40000) } else { Vec::new() };
            assert_eq!(stream.server(reply), expected, "EPSV{argument}");
        }
    }
    // As RFC 2428, 4, has it.
    let mut stream = logged_in(fresh(&STRICT));
    stream.client("EPSV ALL\r\n");
    stream.server("200 OK\r\n");
    stream.client("EPSV\r\n");
    assert_eq!(stream.server(reply), own(40000));
    assert_eq!(stream.server(reply), []);
}

#[test]
fn each_end_says_what_is_its_own_to_say() {
    let mut stream = logged_in(fresh(&LOOSE));
    stream.server("PASV\r\nEPSV\r\n");
    assert_eq!(stream.server("227 (198,51,100,7,156,64)\r\n"), []);
    assert_eq!(stream.server("PORT 198,51,100,7,156,64\r\n"), []);
    assert_eq!(stream.server("EPRT |1|198.51.100.7|40000|\r\n"), []);
    stream.client("PASV\r\nEPSV\r\n");
    assert_eq!(stream.client("227 (192,168,1,2,156,64)\r\n"), []);
    assert_eq!(stream.client("229 (|||40000|)\r\n"), []);
}

#[test]
fn split_anywhere_and_sent_again_it_counts_once() {
    for (asks, (direction, line), expected) in [
        ("NOOP", client("PORT 192,168,1,2,156,64\r\n"), own(40000)),
        ("NOOP", client("EPRT |1|192.168.1.2|40000|\n"), own(40000)),
        (
            "PASV",
            server("227 ok (198,51,100,7,156,64)\r\n"),
            own(40000),
        ),
        ("EPSV", server("229 ok (|||40000|)\r\n"), own(40000)),
    ] {
        for at in 0..=line.len() {
            let (begin, end) = line.split_at(at);
            let mut dialogue = login();
            dialogue.push(client(format!("{asks}\r\n")));
            dialogue.push((direction, begin.to_vec()));
            dialogue.push((direction, end.to_vec()));
            dialogue.retain(|(_, bytes)| !bytes.is_empty());
            for again in [false, true] {
                let found = fresh(&STRICT).dialogue(&dialogue, again);
                assert_eq!(found, expected, "{at} of {line:?}");
            }
            let mut cut = dialogue.clone();
            cut.pop();
            if at < line.len() {
                assert_eq!(fresh(&STRICT).dialogue(&cut, true), [], "{at} of {line:?}");
            }
        }
    }
}

#[test]
fn the_answers_to_one_command_after_the_other() {
    let mut stream = logged_in(fresh(&STRICT));
    for round in 0..20_u16 {
        let port = 2000 + round;
        let [high, low] = port.to_be_bytes();
        let line = format!("PORT 192,168,1,2,{high},{low}\r\n");
        assert_eq!(stream.client(line), own(port));
        assert_eq!(stream.server("200 OK\r\n"), []);
        assert_eq!(stream.client("PASV\r\n"), []);
        let line = format!("227 (198,51,100,7,{high},{low})\r\n");
        assert_eq!(stream.server(line), own(port));
    }
}

#[test]
fn whoever_does_not_begin_as_an_ftp_client_is_none() {
    let port = "PORT 192,168,1,2,156,64\r\n";
    for first in [
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n",
        "GET /x HTTP/1.0\r\n\r\n",
        "PUT /x HTTP/1.1\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\n\r\n",
        "HEAD / HTTP/1.1\r\n",
        "HOST: x\r\n",
        "EHLO x\r\n",
        "NICK x\r\n",
        "PASV\r\n",
        "EPSV\r\n",
        "RETR x\r\n",
        "USERS\r\n",
        "USE\r\n",
        " USER x\r\n",
        "USER:x\r\n",
        "\r\n",
        "\u{16}\u{3}\u{1}\n",
    ] {
        let mut stream = fresh(&LOOSE);
        stream.server("220 ready\r\n");
        assert_eq!(
            stream.client(format!("{first}USER x\r\n{port}")),
            [],
            "{first}"
        );
        stream.server("220 ready\r\n230 OK\r\n");
        stream.client("USER x\r\nPASV\r\nEPSV\r\n");
        assert_eq!(stream.client(port), [], "{first}");
        stream.server("227 (198,51,100,7,156,64)\r\n229 (|||40000|)\r\n");
        assert_eq!(stream.found, [], "{first}");
    }
    let mut stream = fresh(&LOOSE);
    stream.server("220 ready\r\n");
    assert_eq!(stream.client(port), [], "it has not logged in");
    assert_eq!(stream.client(port), []);
}

#[test]
fn a_first_line_that_cannot_be_read_is_none_of_ftp() {
    let port = "PORT 192,168,1,2,156,64\r\n";
    // Too long; in one segment with what follows, and not.
    for length in [129, 200, 5000] {
        let long = format!("USER {}\r\n", "x".repeat(length));
        let mut stream = fresh(&STRICT);
        stream.server("220 ready\r\n");
        assert_eq!(stream.client(format!("{long}USER x\r\n{port}")), []);
        assert_eq!(stream.client(port), []);
        let mut stream = fresh(&STRICT);
        stream.server("220 ready\r\n");
        stream.client(&long);
        assert_eq!(stream.client(format!("USER x\r\n{port}")), []);
    }
    // Lost.
    let mut stream = fresh(&STRICT);
    stream.server("220 ready\r\n");
    stream.client("PO");
    stream.lose(&client("ST / HTTP/1.1\r\n"));
    stream.client("X: y\r\n");
    stream.client("USER x\r\n");
    assert_eq!(stream.client(port), []);
}

#[test]
fn the_first_commands_of_ftp_clients() {
    for first in [
        "USER x",
        "user x",
        "PASS x",
        "ACCT x",
        "REIN",
        "HOST x",
        "LANG en",
        "OPTS UTF8 ON",
        "FEAT",
        "CLNT x",
        "AUTH TLS",
        "PBSZ 0",
        "PROT P",
        "SYST",
        "STAT",
        "HELP",
        "NOOP",
        "QUIT",
    ] {
        let mut stream = fresh(&STRICT);
        stream.server("220 ready\r\n");
        stream.client(format!("{first}\r\n"));
        assert_eq!(
            stream.client("PORT 192,168,1,2,156,64\r\n"),
            own(40000),
            "{first}"
        );
    }
}

#[test]
fn the_server_speaks_first() {
    let port = "PORT 192,168,1,2,156,64\r\n";
    let long = format!("220 {}\r\n", "x".repeat(500));
    for greeting in [
        "220 ready\r\n",
        "220-hello\r\n x\r\n220 ready\r\n",
        "120 in 5 minutes\r\n220 ready\r\n",
        "220\n",
        &long,
    ] {
        let mut stream = fresh(&STRICT);
        stream.server(greeting);
        stream.client("USER x\r\n");
        assert_eq!(stream.client(port), own(40000), "{greeting}");
    }
    for greeting in [
        "",
        "220 ready",
        "22",
        "22\r\n",
        "22x\r\n",
        "HTTP/1.1 400\r\n",
        "SSH-2.0-x\r\n",
        "\r\n",
        "+OK\r\n",
    ] {
        let mut stream = fresh(&STRICT);
        if !greeting.is_empty() {
            stream.server(greeting);
        }
        stream.client("USER x\r\n");
        stream.server("\r\n220 ready\r\n");
        assert_eq!(stream.client("USER x\r\n"), []);
        assert_eq!(stream.client(port), [], "{greeting}");
    }
}

#[test]
fn picked_up_in_midstream_nothing_is_read() {
    // How it began is not known: a reset that only the firewall has seen makes any stream one
    // that is met in its middle.
    let port = "PORT 192,168,1,2,156,64\r\n";
    let mut stream = fresh(&STRICT).midstream();
    assert_eq!(stream.client(port.repeat(2)), []);
    assert_eq!(stream.client("PASV\r\n"), []);
    assert_eq!(stream.server("227 (198,51,100,7,156,65)\r\n"), []);
    let mut stream = fresh(&LOOSE).midstream();
    assert_eq!(stream.server("220 ready\r\n"), []);
    assert_eq!(stream.client(format!("USER x\r\n{port}")), []);
}

#[test]
fn behind_a_gap_it_goes_on() {
    let port = "PORT 192,168,1,2,156,64\r\n";
    let mut stream = logged_in(fresh(&STRICT));
    stream.lose(&client("NOOP\r\nST"));
    assert_eq!(stream.client("OR x\r\n"), []);
    assert_eq!(stream.client(port), own(40000));
}

#[test]
fn nothing_is_read_of_what_is_encrypted() {
    let port = "PORT 192,168,1,2,156,64\r\n";
    let mut stream = fresh(&STRICT);
    stream.server("220 ready\r\n");
    stream.client("AUTH TLS\r\n");
    assert_eq!(stream.client(port), own(40000), "not yet");
    stream.client("PASV\r\n");
    let both = "234 go on\r\n227 (198,51,100,7,156,64)\r\n";
    assert_eq!(stream.server(both), []);
    assert_eq!(stream.client(port), []);
    stream.client("PASV\r\nCCC\r\n");
    assert_eq!(stream.server("200 OK\r\n227 (198,51,100,7,156,64)\r\n"), []);
    assert_eq!(stream.client(port), []);
    // What is no such answer.
    for reply in [
        "234-go on\r\n",
        "334 go on\r\n",
        "2345\r\n",
        " 234 x\r\n",
        "431 no\r\n",
    ] {
        let mut stream = logged_in(fresh(&STRICT));
        stream.server(reply);
        assert_eq!(stream.client(port), own(40000), "{reply}");
    }
    // Of a length that no answer to anything else has.
    let mut stream = logged_in(fresh(&STRICT));
    stream.server(format!("234 {}\r\n", "x".repeat(500)));
    assert_eq!(stream.client(port), []);
    // In midstream.
    let mut stream = fresh(&STRICT).midstream();
    stream.server("x\r\n234 go on\r\n");
    assert_eq!(stream.client(port.repeat(2)), []);
}

#[test]
fn a_packet_of_many_announcements_is_cut_off() {
    let mut stream = logged_in(fresh(&STRICT));
    let found = stream.client("PORT 192,168,1,2,156,64\r\n".repeat(20));
    assert_eq!(found, own(40000).repeat(8));
}

/// Something that one end may say.
fn any_said() -> impl Strategy<Value = Said> {
    let commands = prop_oneof![
        Just("PORT 192,168,1,2,156,64\r\n"),
        Just("PORT 192,168,1,2,4,0\n"),
        Just("PORT 203,0,113,9,156,64\r\n"),
        Just("EPRT |1|192.168.1.2|40001|\r\n"),
        Just("PASV\r\n"),
        Just("EPSV\r\n"),
        Just("EPSV ALL\r\n"),
        Just("RETR PORT\r\n"),
        Just("x"),
        Just("\r\n"),
    ];
    let replies = prop_oneof![
        10 => Just("227 Entering (198,51,100,7,156,66)\r\n"),
        10 => Just("229 Entering (|||40003|)\r\n"),
        5 => Just("227-no\r\n"),
        5 => Just("226 done\r\n"),
        2 => Just("y"),
        2 => Just("\r\n"),
        1 => Just("234 go on\r\n"),
    ];
    prop_oneof![
        commands.prop_map(client),
        replies.prop_map(server),
        vec(any::<u8>(), 1..5).prop_map(client),
    ]
}

fn any_dialogue() -> impl Strategy<Value = Vec<Said>> {
    vec(any_said(), 0..20).prop_map(|said| {
        let mut all = login();
        all.extend(said);
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn whatever_comes_it_does_not_panic(
        segments in vec((any::<bool>(), 0_u32..400, vec(any::<u8>(), 1..200)), 0..20),
        whole: bool, loose: bool
    ) {
        let ftp = Ftp { loose };
        let mut stream = if whole { fresh(&ftp) } else { fresh6(&ftp).midstream() };
        for (reply, at, bytes) in segments {
            let direction = if reply { Direction::Reply } else { Direction::Original };
            stream.segment(direction, at, &bytes);
        }
    }

    #[test]
    fn whatever_is_in_a_line_it_does_not_panic(
        lines in vec(("(PORT|EPRT|EPSV|PASV|227|229|234|USER)[ -]", vec(any::<u8>(), 0..30)), 0..30),
        loose: bool
    ) {
        let ftp = Ftp { loose };
        let mut stream = logged_in(fresh(&ftp));
        for (begin, rest) in lines {
            let line = [begin.as_bytes(), &rest, b"\r\n"].concat();
            stream.client(&line);
            stream.client("EPSV\r\nPASV\r\n");
            stream.server(&line);
        }
    }

    #[test]
    fn however_it_is_cut_the_same_is_found(
        dialogue in any_dialogue(), sizes in vec(1_usize..40, 1..10), again: bool, whole: bool
    ) {
        let stream = || if whole { fresh(&LOOSE) } else { fresh(&LOOSE).midstream() };
        let found = stream().dialogue(&dialogue, false);
        prop_assert_eq!(stream().pieces(&dialogue, &sizes, again), found);
    }

    #[test]
    fn of_a_beginning_no_more_is_found_than_of_the_whole(
        dialogue in any_dialogue(), len in 0_usize..500, sizes in vec(1_usize..40, 1..10)
    ) {
        let all = fresh(&LOOSE).dialogue(&dialogue, false);
        let part = fresh(&LOOSE).pieces(&prefix(&dialogue, len), &sizes, false);
        prop_assert!(all.starts_with(&part), "{:?} of {:?}", part, all);
    }

    #[test]
    fn whatever_is_announced_it_is_the_senders_own_and_no_service(dialogue in any_dialogue()) {
        for pinhole in fresh(&STRICT).dialogue(&dialogue, true) {
            prop_assert_eq!(pinhole.listener, Listener::Sender);
            prop_assert!(pinhole.port.get() >= 1024);
        }
    }
}
