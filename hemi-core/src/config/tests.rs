//! Tests of the config language from the outside.
mod broken;
mod include;
mod mutate;
mod read;

use super::{Constants, Error, Source, Tree, load};

fn constants() -> Constants {
    Constants {
        top_dir: "/srv".into(),
        log_dir: "/srv/log".into(),
        tmp_dir: "/srv/tmp".into(),
        var_dir: "/srv/var".into(),
        env: [("HOME".to_owned(), "/home/me".to_owned())].into(),
    }
}

fn try_load(text: &str) -> Result<Tree, Error> {
    load(&Source::text("t.conf", text), &constants())
}

#[track_caller]
fn loaded(text: &str) -> Tree {
    match try_load(text) {
        Ok(tree) => tree,
        Err(error) => panic!("{error}"),
    }
}
