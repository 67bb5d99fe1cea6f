//! The table of actions.

use super::{Action, Is, Operands, Value};
use crate::actions;

const FILE: Value = Value { name: "FILE", is: Is::File };

const PLACE: Value = Value { name: "ADDRESS", is: Is::File };

/// In the order in which they are shown.
pub(crate) const ACTIONS: &[Action] = &[
    Action {
        names: &["serve"],
        operands: Operands::Nothing,
        about: "serve until Ctrl-C or SIGTERM, then drain (the default)",
        more: "A leader keeps the listening sockets, and a worker serves on them; --single has one process \
               do both. Draining completes the answers that are under way, for --grace seconds at most. A \
               second signal ends it at once. Signals to the leader: INT and TERM quit, QUIT stops, HUP \
               reloads, USR1 reopens log files, USR2 upgrades.",
        exits: &[
            (0, "it has served, and drained"),
            (1, "the config is wrong, or can't be served here"),
        ],
        run: actions::serve::serve,
    },
    Action {
        names: &["status"],
        operands: Operands::Nothing,
        about: "tell how the processes that serve are doing",
        more: "",
        exits: &[],
        run: actions::ask::status,
    },
    Action {
        names: &["top"],
        operands: Operands::Nothing,
        about: "watch how the processes that serve are doing, until Ctrl-C",
        more: "Once a second: requests, errors, connections, latencies (if they are measured: see --webui \
               and the handlet metrics), stages, servers, rules, nodes of backends, the last warnings. To \
               what is no terminal it is told once.",
        exits: &[],
        run: actions::top::top,
    },
    Action {
        names: &["pids"],
        operands: Operands::Nothing,
        about: "print the process ids of leader and workers",
        more: "",
        exits: &[],
        run: actions::ask::pids,
    },
    Action {
        names: &["leader"],
        operands: Operands::Nothing,
        about: "tell how the leader is doing",
        more: "",
        exits: &[],
        run: actions::ask::leader,
    },
    Action {
        names: &["worker"],
        operands: Operands::Nothing,
        about: "tell how the workers are doing",
        more: "",
        exits: &[],
        run: actions::ask::worker,
    },
    Action {
        names: &["reload", "reconf"],
        operands: Operands::Nothing,
        about: "load the config anew",
        more: "It comes back when the new config serves. One with mistakes changes nothing: they are printed. Answers that are under way are completed by the stage that began them.",
        exits: &[],
        run: actions::ask::reload,
    },
    Action {
        names: &["rework"],
        operands: Operands::Nothing,
        about: "put a new worker in the place of the one that serves",
        more: "Both have the same sockets, so no connection is refused; the old one completes what is under way, and ends.",
        exits: &[],
        run: actions::ask::rework,
    },
    Action {
        names: &["upgrade"],
        operands: Operands::Nothing,
        about: "put new processes in the place of those that run, of a new binary: see --binary",
        more: "If the new ones do not come to serve, all stays as it is. Refused while others still drain.",
        exits: &[],
        run: actions::ask::upgrade,
    },
    Action {
        names: &["reopen"],
        operands: Operands::Nothing,
        about: "open log files anew, after they were moved away",
        more: "",
        exits: &[],
        run: actions::ask::reopen,
    },
    Action {
        names: &["quit"],
        operands: Operands::Nothing,
        about: "drain, then end",
        more: "It comes back when this has begun.",
        exits: &[],
        run: actions::ask::quit,
    },
    Action {
        names: &["stop"],
        operands: Operands::Nothing,
        about: "end at once",
        more: "",
        exits: &[],
        run: actions::ask::stop,
    },
    Action {
        names: &["recmd"],
        operands: Operands::Optional(PLACE),
        about: "open the control API at another address, or the path of a socket",
        more: "Without one its port closes; the socket stays.",
        exits: &[],
        run: actions::ask::recmd,
    },
    Action {
        names: &["reweb"],
        operands: Operands::Optional(PLACE),
        about: "open the admin pages at another address",
        more: "Without one they close.",
        exits: &[],
        run: actions::ask::reweb,
    },
    Action {
        names: &["check"],
        operands: Operands::Optional(FILE),
        about: "check a config and do everything but start it",
        more: "All mistakes are shown, each with its place and, where there is one, a remedy. Sockets and \
               files are left alone.",
        exits: &[(0, "no mistakes were found"), (1, "there are mistakes")],
        run: actions::check::check,
    },
    Action {
        names: &["fmt"],
        operands: Operands::Several(FILE),
        about: "print configs in canonical form; see --write, --check",
        more: "Comments stay where they are. Files that can't be parsed are left as they are.",
        exits: &[(1, "a file could not be read, parsed or written; the others are done")],
        run: actions::fmt::fmt,
    },
    Action {
        names: &["dump"],
        operands: Operands::Optional(FILE),
        about: "print a config as one text, with what it includes",
        more: "What stands in included files is put in the place of the includes, in canonical form.",
        exits: &[(1, "the config can't be read, or has mistakes")],
        run: actions::dump::dump,
    },
    Action {
        names: &["explain"],
        operands: Operands::Optional(Value { name: "SIGN", is: Is::Sign }),
        about: "describe a component and its properties, or list all",
        more: "A sign is the word by which a config names the component, such as `static`. The description \
               is that of this program, in this version.",
        exits: &[(1, "there is no such component")],
        run: actions::explain::explain,
    },
    Action {
        names: &["cert"],
        operands: Operands::Several(Value { name: "WHAT", is: Is::Text }),
        about: "make a certificate or a request for one, or show what a file holds",
        more: "`NAME cert self-signed HOST...` writes HOST.pem and HOST.key, a certificate for these hosts or \
               addresses and its private key, for tests and for where nobody else has to believe it. \
               `NAME cert csr HOST...` writes HOST.csr and HOST.key, for a CA to sign. \
               `NAME cert info FILE...` shows the certificates in files. `NAME cert list DIR` tells in a line each what an \
               `acme` keeps in its directory, soonest to expire first. Nothing is overwritten.",
        exits: &[(1, "a file could not be read or written, or is there already")],
        run: actions::cert::cert,
    },
    Action {
        names: &["rpc"],
        operands: Operands::Several(Value { name: "WHAT", is: Is::Text }),
        about: "call services elsewhere, tell what there is to call, or what is said on connections",
        more: "`NAME rpc list ADDRESS` lists the services of a server of gRPC that tells them (by reflection). \
               `NAME rpc describe ADDRESS SERVICE` tells the methods of one, or the fields of a message. \
               `NAME rpc call ADDRESS SERVICE/METHOD [JSON...] [FIELD=VALUE...]` calls a method with these messages and \
               this metadata, and prints what is answered. `NAME rpc call rpcx@ADDRESS SERVICE/METHOD [JSON]` does so \
               by rpcx. \
               `NAME rpc bench ADDRESS SERVICE/METHOD [JSON|@FILE] [FIELD=VALUE...]` calls a method of gRPC many times, or \
               after `rpcx@` and `hrpc@` one of rpcx or HRPC, and tells how many calls per second were answered, how long that \
               took, and what has failed. \
               `NAME rpc dump FILE...` tells what is said by rpcx, HRPC and gRPC in files that tcpdump has written; `NAME rpc \
               dump --listen ADDRESS --to ADDRESS` passes connections on, and tells what is said on them.",
        exits: &[(1, "the call has failed, or nobody could be asked")],
        run: actions::rpc::rpc,
    },
    Action {
        names: &["advise"],
        operands: Operands::Nothing,
        about: "advise on the settings of this machine",
        more: "Settings of the kernel, and limits of this user and control group: what is seen, what is \
               wanted, why, and the command that does it. Nothing is changed. Run it as the service is \
               run, for the limits of a shell are others.",
        exits: &[],
        run: actions::advise::advise,
    },
    Action {
        names: &["completion"],
        operands: Operands::One(Value { name: "SHELL", is: Is::OneOf(&["bash", "zsh", "fish"]) }),
        about: "print what completes this command line in a shell",
        more: "For bash: `NAME completion bash > ~/.local/share/bash-completion/completions/NAME`. \
               For zsh: `NAME completion zsh > DIR/_NAME`, where DIR is in $fpath. \
               For fish: `NAME completion fish > ~/.config/fish/completions/NAME.fish`.",
        exits: &[],
        run: actions::manual::completion,
    },
    Action {
        names: &["man"],
        operands: Operands::Nothing,
        about: "print the man page of this program, in roff",
        more: "To read it: `NAME man | man -l -`.",
        exits: &[],
        run: actions::manual::man,
    },
    Action {
        names: &["version"],
        operands: Operands::Nothing,
        about: "print the version",
        more: "",
        exits: &[],
        run: actions::manual::version,
    },
    Action {
        names: &["help"],
        operands: Operands::Optional(Value { name: "ACTION", is: Is::Action }),
        about: "print this, or all about an action",
        more: "",
        exits: &[],
        run: actions::manual::help,
    },
];
