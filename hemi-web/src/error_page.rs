//! The page a client sees when there is nothing better to show.

use http::StatusCode;

use crate::Response;

/// A small page that names the status.
pub(crate) fn page(status: StatusCode) -> Response {
    if status.is_informational() || matches!(status.as_u16(), 204 | 205 | 304) {
        return Response::new(status);
    }
    let (code, reason) = (status.as_u16(), hemi_proto::http1::reason_phrase(status));
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{code} {reason}</title>\
         <style>body{{font:1rem/1.5 system-ui,sans-serif;margin:20vh auto 0;max-width:30rem;padding:0 1rem;\
         color:#333;background:#fff}}b{{font-size:3rem;font-weight:600;display:block}}\
         @media(prefers-color-scheme:dark){{body{{color:#ddd;background:#1b1b1b}}}}</style>\
         <b>{code}</b>{reason}</html>\n"
    );
    Response::html(page).with_status(status)
}
