//! A node whose name says that it is somewhere else now.

use hemi_test::eventually;

use super::{
    PATIENCE, idle_tasks, no_connection_is_left, nothing_is_left, right_answer, under_load_until,
};
use crate::dns::{Dns, HERE, THERE, two_listeners};
use crate::server::load;
use crate::upstream::{Act, Upstream};

#[test]
fn a_node_moves_under_load() {
    let (dns, [here, there]) = (Dns::start(), two_listeners());
    let port = here.local_addr().unwrap().port();
    let nodes = [here, there].map(|at| Upstream::on(at, |head| Act::Answer(right_answer(head))));
    dns.host("app.test", &[HERE], 0);
    let config = format!(
        r#"stage {{
            {}
            http1Backend "b" {{ node {{ .address = "app.test:{port}" }} }}
            webapp "site" {{ .hostnames = ("*")  rule {{ httpProxy {{ .toBackend = "b" }} }} }}
            httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("site") }}
        }}"#,
        dns.resolv()
    );
    let server = load(2, &config).unwrap_or_else(|e| panic!("{e}"));
    let tasks = idle_tasks(&server);
    let seen = under_load_until(server.addr(), |asked| {
        for n in 0..6 {
            asked(100 * (n + 1));
            let (to, at) = if n % 2 == 0 { (THERE, &nodes[1]) } else { (HERE, &nodes[0]) };
            let before = at.requests();
            dns.host("app.test", &[to], 0);
            assert!(eventually(PATIENCE, || at.requests() > before), "it is not asked there");
        }
    });
    let [right, refused, broken] = seen.counts();
    assert!(right > 600 && refused == 0 && broken == 0, "{seen:?}");
    nothing_is_left(&server, tasks);
    no_connection_is_left(server, &[&nodes[0], &nodes[1]]);
}
