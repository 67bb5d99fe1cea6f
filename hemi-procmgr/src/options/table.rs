//! The table of options.

use super::{Is, Opt, Set, Value};
use crate::admin;

const PEM: Value = Value { name: "FILE", is: Is::File };

const NUMBER: Value = Value { name: "N", is: Is::Text };

const TIME: Value = Value { name: "TIME", is: Is::Text };

const DIR: Value = Value { name: "DIR", is: Is::Dir };

/// The actions that look at a config, or for a program that was started with one.
const CONFIGURED: &[&str] = &[
    "serve", "check", "dump", "status", "top", "pids", "leader", "worker", "reload", "rework",
    "upgrade", "reopen", "quit", "stop", "recmd", "reweb",
];

/// The actions that serve, or ask a program that does.
const CONTROLLED: &[&str] = &[
    "serve", "status", "top", "pids", "leader", "worker", "reload", "rework", "upgrade", "reopen",
    "quit", "stop", "recmd", "reweb",
];

/// In the order in which they are shown.
pub(crate) const OPTIONS: &[Opt] = &[
    Opt {
        names: &["config"],
        set: Set::Value(Value { name: "FILE", is: Is::File }, |o, v| {
            o.config = Some(v);
            Ok(())
        }),
        about: "the config, a path or an http:// URL",
        default: "conf/NAME.conf here, then in the top directory, then the one in the binary",
        of: CONFIGURED,
    },
    Opt {
        names: &["top-dir", "topDir"],
        set: Set::Value(DIR, |o, v| {
            o.top_dir = Some(v.into());
            Ok(())
        }),
        about: "%topDir",
        default: "where the config's directory `conf` is, else where conf/NAME.conf is, else where the binary is",
        of: CONFIGURED,
    },
    Opt {
        names: &["log-dir", "logDir"],
        set: Set::Value(DIR, |o, v| {
            o.log_dir = Some(v.into());
            Ok(())
        }),
        about: "%logDir",
        default: "data/log in the top directory",
        of: CONFIGURED,
    },
    Opt {
        names: &["tmp-dir", "tmpDir"],
        set: Set::Value(DIR, |o, v| {
            o.tmp_dir = Some(v.into());
            Ok(())
        }),
        about: "%tmpDir",
        default: "data/tmp in the top directory",
        of: CONFIGURED,
    },
    Opt {
        names: &["var-dir", "varDir"],
        set: Set::Value(DIR, |o, v| {
            o.var_dir = Some(v.into());
            Ok(())
        }),
        about: "%varDir",
        default: "data/var in the top directory",
        of: CONFIGURED,
    },
    Opt {
        names: &["cmdui"],
        set: Set::Value(Value { name: "PATH|ADDRESS", is: Is::File }, |o, v| {
            if !v.contains('/') {
                admin::address(&v)?;
            }
            o.cmdui = Some(v);
            Ok(())
        }),
        about: "the control socket, by which a program that serves is asked; or with serve the address of a \
                port where it is asked with a token, beside the socket",
        default: "NAME.sock in %varDir, and no port",
        of: CONTROLLED,
    },
    Opt {
        names: &["webui"],
        set: Set::Value(Value { name: "ADDRESS", is: Is::File }, |o, v| {
            admin::address(&v)?;
            o.webui = Some(v);
            Ok(())
        }),
        about: "the address of the admin pages; who logs in needs the token in NAME.token in %varDir",
        default: "no admin pages",
        of: &["serve"],
    },
    Opt {
        names: &["admin-host"],
        set: Set::Value(Value { name: "NAME", is: Is::Text }, |o, v| {
            o.admin_hosts.push(v.to_ascii_lowercase());
            Ok(())
        }),
        about: "a name by which the ports of cmdui and webui may be asked for; may be given several times",
        default: "addresses and localhost only",
        of: &["serve"],
    },
    Opt {
        names: &["admin-cert"],
        set: Set::Value(PEM, |o, v| {
            o.admin_certificate = Some(v.into());
            Ok(())
        }),
        about: "the certificate, in PEM, by which the ports of cmdui and webui speak TLS, and nothing else; \
                `NAME cert self-signed` makes one",
        default: "they speak in the clear",
        of: &["serve"],
    },
    Opt {
        names: &["admin-key"],
        set: Set::Value(PEM, |o, v| {
            o.admin_key = Some(v.into());
            Ok(())
        }),
        about: "the private key of that, in PEM",
        default: "",
        of: &["serve"],
    },
    Opt {
        names: &["admin-client-ca"],
        set: Set::Value(PEM, |o, v| {
            o.admin_client_ca = Some(v.into());
            Ok(())
        }),
        about: "a CA, in PEM: who connects to these ports must show a certificate of it, and needs no token",
        default: "no certificates are asked for",
        of: &["serve"],
    },
    Opt {
        names: &["grace"],
        set: Set::Value(Value { name: "SECONDS", is: Is::File }, |o, v| {
            o.grace = Some(v.parse().map_err(|_| "takes a number of seconds")?);
            Ok(())
        }),
        about: "how long answers that are under way may take to end, when another config or process takes \
                over or the program ends",
        default: "30",
        of: &["serve"],
    },
    Opt {
        names: &["single"],
        set: Set::Flag(|o| o.single = true),
        about: "serve in one process, which nobody can ask and no other replaces",
        default: "",
        of: &["serve"],
    },
    Opt {
        names: &["daemon"],
        set: Set::Flag(|o| o.daemon = true),
        about: "serve in the background, and come back once it serves; what it says goes to NAME.out and \
                NAME.err in %logDir",
        default: "",
        of: &["serve"],
    },
    Opt {
        names: &["binary"],
        set: Set::Value(Value { name: "FILE", is: Is::File }, |o, v| {
            o.binary = Some(v.into());
            Ok(())
        }),
        about: "the binary to upgrade to",
        default: "what lies now where that of the program came from",
        of: &["upgrade"],
    },
    Opt {
        names: &["io"],
        set: Set::Value(
            Value { name: "DRIVER", is: Is::OneOf(&["auto", "epoll", "uring"]) },
            |o, v| {
                o.io = Some(v.parse()?);
                Ok(())
            },
        ),
        about: "what moves the bytes of connections: epoll, uring (io_uring, Linux 6.1), or auto: uring if \
                it can be had, else epoll",
        default: "auto",
        of: &["serve"],
    },
    Opt {
        names: &["user"],
        set: Set::Value(Value { name: "USER", is: Is::Text }, |o, v| {
            o.user = Some(v);
            Ok(())
        }),
        about: "become this user before serving, by name or number",
        default: "the one who starts it",
        of: &["serve"],
    },
    Opt {
        names: &["group"],
        set: Set::Value(Value { name: "GROUP", is: Is::Text }, |o, v| {
            o.group = Some(v);
            Ok(())
        }),
        about: "with --user: in this group",
        default: "that of the user",
        of: &["serve"],
    },
    Opt {
        names: &["sandbox"],
        set: Set::Value(
            Value { name: "MODE", is: Is::OneOf(&["off", "on", "required"]) },
            |o, v| {
                o.sandbox = v.parse()?;
                Ok(())
            },
        ),
        about: "forbid the process that serves all files that its config does not name, and system \
                calls that a server has no use for, such as running programs: on as far as the \
                kernel can, required all of it",
        default: "off",
        of: &["serve"],
    },
    Opt {
        names: &["debug"],
        set: Set::Value(Value { name: "LEVEL", is: Is::OneOf(&["0", "1", "2"]) }, |o, v| {
            o.debug = v.parse().map_err(|_| "takes a number")?;
            Ok(())
        }),
        about: "what to log: 0 what happens, 1 why, 2 all",
        default: "0",
        of: &["serve"],
    },
    Opt {
        names: &["days"],
        set: Set::Value(Value { name: "N", is: Is::Text }, |o, v| {
            o.days = Some(v.parse().map_err(|_| "takes a number")?);
            Ok(())
        }),
        about: "with cert self-signed: how long the certificate is valid",
        default: "90",
        of: &["cert"],
    },
    Opt {
        names: &["connections"],
        set: Set::Value(NUMBER, |o, v| o.say("connections", &v)),
        about: "with rpc bench: how many connections are made",
        default: "1",
        of: &["rpc"],
    },
    Opt {
        names: &["callers"],
        set: Set::Value(NUMBER, |o, v| o.say("callers", &v)),
        about: "with rpc bench: how many calls are under way at once; with --rate at most",
        default: "50",
        of: &["rpc"],
    },
    Opt {
        names: &["for"],
        set: Set::Value(TIME, |o, v| o.say("for", &v)),
        about: "with rpc bench: for how long calls are begun, such as 10s",
        default: "10s",
        of: &["rpc"],
    },
    Opt {
        names: &["count"],
        set: Set::Value(NUMBER, |o, v| o.say("count", &v)),
        about: "with rpc bench: how many calls are made, in the place of --for; with rpc dump: how many connections are \
                passed on before it ends",
        default: "",
        of: &["rpc"],
    },
    Opt {
        names: &["rate"],
        set: Set::Value(NUMBER, |o, v| o.say("rate", &v)),
        about: "with rpc bench: how many calls are begun per second, whether those before are answered or not; how long \
                one takes is measured from when it was to begin",
        default: "as many as callers can",
        of: &["rpc"],
    },
    Opt {
        names: &["timeout"],
        set: Set::Value(TIME, |o, v| o.say("timeout", &v)),
        about: "with rpc bench: how long an answer is waited for",
        default: "30s",
        of: &["rpc"],
    },
    Opt {
        names: &["codec"],
        set: Set::Value(
            Value { name: "CODEC", is: Is::OneOf(&["json", "msgpack", "protobuf", "raw"]) },
            |o, v| o.say("codec", &v),
        ),
        about: "with rpc bench: what messages are written in; protobuf and raw are sent as they stand in a file",
        default: "json by rpcx and HRPC; Protobuf made of JSON by gRPC",
        of: &["rpc"],
    },
    Opt {
        names: &["listen"],
        set: Set::Value(Value { name: "ADDRESS", is: Is::Text }, |o, v| o.say("listen", &v)),
        about: "with rpc dump: where to listen for connections that are passed on",
        default: "",
        of: &["rpc"],
    },
    Opt {
        names: &["to"],
        set: Set::Value(Value { name: "ADDRESS", is: Is::Text }, |o, v| o.say("to", &v)),
        about: "with rpc dump: whom they are passed on to",
        default: "",
        of: &["rpc"],
    },
    Opt {
        names: &["write"],
        set: Set::Flag(|o| o.write = true),
        about: "write the files instead of printing them",
        default: "",
        of: &["fmt"],
    },
    Opt {
        names: &["check"],
        set: Set::Flag(|o| o.check = true),
        about: "change and print nothing: fail if files are not in canonical form",
        default: "",
        of: &["fmt"],
    },
    Opt {
        names: &["json"],
        set: Set::Flag(|o| {
            o.json = true;
            o.said.push("--json".to_owned());
        }),
        about: "for programs, as JSON",
        default: "",
        of: &[
            "check", "explain", "advise", "rpc", "status", "pids", "leader", "worker", "reload",
            "rework", "upgrade", "reopen", "quit", "stop", "recmd", "reweb",
        ],
    },
    Opt {
        names: &["help", "h"],
        set: Set::Flag(|o| o.help = true),
        about: "print this, or all about the action",
        default: "",
        of: &[],
    },
    Opt {
        names: &["version"],
        set: Set::Flag(|o| o.version = true),
        about: "print the version",
        default: "",
        of: &[],
    },
];
