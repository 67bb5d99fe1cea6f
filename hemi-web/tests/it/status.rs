//! What an engine tells of itself while it serves.

use hemi_core::Status;

use crate::site::{Site, ask, config};

#[test]
fn stages_connections_and_counts_are_told() {
    let mut site = Site::with("");
    site.sample();
    let mut client = site.connect();
    assert_eq!(ask(&mut client, "GET", "/now").0, 200);
    assert_eq!(ask(&mut client, "GET", "/now/panic").0, 500);
    site.sample();
    site.load(&config("127.0.0.1:0", ".maxFields = 101")).unwrap();
    let status = site.status();
    assert_eq!(status.cores, 2);
    let [serving, draining] = &*status.stages else { panic!("{:?}", status.stages) };
    assert_eq!((serving.id, draining.id, draining.conns), (2, 1, 1));
    assert_eq!(serving.ends_by, None);
    assert!(draining.ends_by.unwrap() > draining.since);
    assert_ne!(serving.digest, draining.digest);
    assert!(serving.components.iter().any(|c| (&*c.kind, &*c.name) == ("webapp", "probe")));
    let pace = (&status.pace.requests, &status.pace.errors, &status.pace.conns);
    assert_eq!(pace, (&[0, 2].into(), &[0, 1].into(), &[0, 1].into()));
    let address = site.addr().to_string();
    let (labels, _) = status.measures.series("hemi_server").next().unwrap();
    assert_eq!(labels.value("address"), Some(&*address));

    // To another process and back.
    let json = serde_json::to_string(&status).unwrap();
    let read: Status = serde_json::from_str(&json).unwrap();
    assert_eq!((read.stages, read.pace.requests), (status.stages, status.pace.requests));
    // Seconds of the process may differ in their last digit.
    for name in ["hemi_build", "hemi_server", "hemi_server_requests", "hemi_server_limit_hits"] {
        let told: Vec<_> = status.measures.series(name).collect();
        assert!(!told.is_empty(), "{name}");
        assert_eq!(read.measures.series(name).collect::<Vec<_>>(), told, "{name}");
    }

    drop(client);
    let over = || site.status().stages.len() == 1;
    assert!(hemi_test::eventually(crate::site::PATIENCE, over), "{:?}", site.status().stages);
}
