//! The pages in a browser.

use hemi_test::{Browser, peer};
use serde_json::json;

use super::{TOKEN, Under};
use crate::control::{Act, Event, What};

/// No page is wider than its window.
#[track_caller]
fn expect_fit(browser: &mut Browser, what: &str) {
    let wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
    assert_eq!(browser.eval(wide), 0, "{what}");
}

#[test]
fn an_operator_logs_in_watches_and_reloads() {
    let Some(chromium) = peer("chromium") else { return };
    let under = Under::new();
    let site = format!("http://{}", under.port("webui"));
    let mut browser = Browser::open(&chromium, &[]);
    browser.size(1280, 900, "light");
    browser.go(&format!("{site}/login"));
    browser.picture("login");
    browser.eval("token.value = 'wrong'; document.forms[0].submit()");
    browser.wait("document.body.innerText.includes('That is not the token')");
    browser.eval(&format!("token.value = '{TOKEN}'; document.forms[0].submit()"));
    browser.wait("document.title.startsWith('Overview')");

    // What changes is shown without loading the page again.
    browser.eval("window.mark = 1");
    browser.wait("document.getElementById('state').textContent == 'live'");
    under.leader.tell(Event::now(What::Failed, "worker 1001 was lost"));
    browser.wait("document.body.innerText.includes('worker 1001 was lost')");
    assert_eq!(browser.eval("window.mark"), 1);

    for (width, height, scheme) in [(1280, 900, "light"), (1280, 900, "dark"), (390, 844, "light")]
    {
        browser.size(width, height, scheme);
        expect_fit(&mut browser, &format!("{width} {scheme}"));
        browser.picture(&format!("overview-{width}-{scheme}"));
    }
    browser.go(&format!("{site}/config"));
    expect_fit(&mut browser, "config, 390");
    browser.picture("config-390");

    browser.size(1280, 900, "light");
    browser.go(&format!("{site}/"));
    browser.eval("document.querySelector('button[value=reload]').click()");
    browser.wait("document.body.innerText.includes('Reload: done')");
    assert_eq!(under.leader.acts(), [Act::Reload]);
    // Nobody quits by accident.
    browser.eval("document.querySelector('button[value=quit]').click()");
    under.leader.refuse();
    browser.eval("document.querySelector('button[value=reload]').click()");
    browser.wait("document.body.innerText.includes('unknown property')");
    assert_eq!(under.leader.acts(), [Act::Reload]);
    expect_fit(&mut browser, "refused, 1280");
    browser.picture("refused");
    browser.go(&format!("{site}/config"));
    browser.picture("config-refused");
    browser.eval("document.querySelector('form[action=\"/logout\"] button').click()");
    browser.wait("location.pathname == '/login'");
    browser.go(&format!("{site}/login"));
    browser.call("Page.navigate", json!({"url": site}));
    browser.wait("location.pathname == '/login' && document.readyState == 'complete'");
}
