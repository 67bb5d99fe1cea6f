//! The page of a directory: for screens of any width, bright or dark, without scripts.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::SystemTime;

use hemi_proto::date::format_date;
use hemi_proto::path::push_encoded;

use super::super::media_types::MediaType;
use super::{By, Direction, Item, Listing, Order, Wish};

const STYLE: &str = include_str!("page.css");

/// What the icons of entries are drawn with.
const SYMBOLS: &str = r##"<svg hidden>
<symbol id="dir" viewBox="0 0 16 16"><path d="M1.5 3.5h4.5l1.5 1.5h7v8h-13z"/></symbol>
<symbol id="up" viewBox="0 0 16 16"><path d="M8 13V3.5M4 7l4-4 4 4"/></symbol>
<symbol id="file" viewBox="0 0 16 16"><path d="M3.5 1.5h6l3 3v10h-9zM9.5 1.5v3h3"/></symbol>
<symbol id="text" viewBox="0 0 16 16"><path d="M3.5 1.5h6l3 3v10h-9zM9.5 1.5v3h3M6 7.5h4M6 10h4"/></symbol>
<symbol id="image" viewBox="0 0 16 16"><path d="M1.5 3h13v10h-13zM2 12l4-4 3 3 2-2 3.5 3.5M10.5 6h.01"/></symbol>
<symbol id="media" viewBox="0 0 16 16"><path d="M1.5 3h13v10h-13zM6.5 5.75v4.5l4-2.25z"/></symbol>
<symbol id="pack" viewBox="0 0 16 16"><path d="M2.5 5.5h11v8h-11zM1.5 2.5h13v3h-13zM6.5 8.5h3"/></symbol>
</svg>
"##;

/// The page with these entries, in this order.
pub(super) fn page(wish: &Wish, listing: &Listing) -> String {
    let mut page = String::with_capacity(4096 + listing.items.len() * 320);
    page.push_str("<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n");
    page.push_str(
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
    );
    push_escaped(&mut page, &wish.path);
    page.push_str("</title>\n<style>\n");
    page.push_str(STYLE);
    page.push_str("</style>\n");
    page.push_str(SYMBOLS);
    page.push_str("<main>\n");
    // Links to other directories keep the order.
    let query = if wish.order == Order::default() { String::new() } else { query(wish.order) };
    let above = push_crumbs(&mut page, wish, &query);
    push_summary(&mut page, listing);
    page.push_str("<table>\n<thead><tr>");
    for (by, title) in [(By::Name, "Name"), (By::Size, "Size"), (By::Time, "Modified")] {
        push_heading(&mut page, wish.order, by, title);
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    if above {
        let _ = writeln!(
            page,
            "<tr><td><a href=\"../{query}\"><svg><use href=\"#up\"/></svg>Parent directory</a></td>\
             <td></td><td></td></tr>"
        );
    }
    for item in &listing.items {
        push_item(&mut page, item, &query);
    }
    page.push_str("</tbody>\n</table>\n</main>\n</html>\n");
    page
}

/// The way from the top to here; says whether there is anything above.
fn push_crumbs(page: &mut String, wish: &Wish, query: &str) -> bool {
    let below = wish.path.get(wish.top_end..).unwrap_or_default();
    let names = below.split('/').filter(|name| !name.is_empty());
    let crumbs: Vec<&str> = std::iter::once(&*wish.top).chain(names).collect();
    let last = crumbs.len() - 1;
    page.push_str("<h1>");
    for (at, crumb) in crumbs.iter().enumerate() {
        if at == last {
            push_escaped(page, crumb);
        } else {
            let _ = write!(page, "<a href=\"{}{query}\">", "../".repeat(last - at));
            push_escaped(page, crumb);
            page.push_str("</a><i>/</i>");
        }
    }
    page.push_str("</h1>\n");
    last > 0
}

fn push_summary(page: &mut String, listing: &Listing) {
    let (mut files, mut bytes) = (0, 0u64);
    for size in listing.items.iter().filter_map(|item| item.size) {
        files += 1;
        bytes = bytes.saturating_add(size);
    }
    let count = |number: usize, one: &str, many: &str| match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {many}"),
    };
    let directories = count(listing.items.len() - files, "directory", "directories");
    let _ = write!(page, "<p>{directories}, {}", count(files, "file", "files"));
    if files > 0 {
        let _ = write!(page, ", {}", readable(bytes));
    }
    if !listing.complete {
        page.push_str(". There is more than is shown here");
    }
    page.push_str("</p>\n");
}

/// A heading that sorts by its column; in the other direction if that is done already.
fn push_heading(page: &mut String, order: Order, by: By, title: &str) {
    let (sorted, direction) = match (order.by == by, order.direction) {
        (false, _) => (None, Direction::Ascending),
        (true, Direction::Ascending) => (Some(("ascending", "↑")), Direction::Descending),
        (true, Direction::Descending) => (Some(("descending", "↓")), Direction::Ascending),
    };
    let link = query(Order { by, direction });
    let _ = match sorted {
        None => write!(page, "<th><a href=\"{link}\">{title}</a></th>"),
        Some((word, arrow)) => {
            write!(page, "<th aria-sort=\"{word}\"><a href=\"{link}\">{title} {arrow}</a></th>")
        }
    };
}

/// The query that asks for this order, as it stands in a link.
fn query(order: Order) -> String {
    let by = match order.by {
        By::Name => "name",
        By::Size => "size",
        By::Time => "time",
    };
    let direction = match order.direction {
        Direction::Ascending => "asc",
        Direction::Descending => "desc",
    };
    format!("?sort={by}&amp;order={direction}")
}

fn push_item(page: &mut String, item: &Item, query: &str) {
    page.push_str("<tr><td><a href=\"");
    push_encoded(page, &item.name);
    let _ = match item.size {
        None => write!(page, "/{query}\"><svg class=\"d\"><use href=\"#dir\"/></svg>"),
        Some(_) => write!(page, "\"><svg><use href=\"#{}\"/></svg>", icon(&item.name)),
    };
    push_escaped(page, &item.name);
    page.push_str(if item.size.is_none() { "/</a></td><td>" } else { "</a></td><td>" });
    if let Some(size) = item.size {
        let _ = write!(page, "<span title=\"{size} bytes\">{}</span>", readable(size));
    }
    let time = timestamp(item.modified);
    let shown = time.get(..16).unwrap_or_default().replace('T', " ");
    let _ = writeln!(page, "</td><td><time datetime=\"{time}\">{shown}</time></td></tr>");
}

/// The symbol for a file, by its media type.
fn icon(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let media_type = MediaType::of(&extension.to_ascii_lowercase());
    let essence = media_type.as_ref().map_or(Cow::Borrowed(""), MediaType::essence);
    match essence.split_once('/').unwrap_or_default() {
        ("text", _) | ("application", "json" | "xml" | "yaml" | "toml" | "pdf") => "text",
        ("image", _) => "image",
        ("audio" | "video", _) => "media",
        ("application", "zip" | "gzip" | "zstd" | "vnd.rar" | "java-archive") => "pack",
        ("application", kind) if kind.starts_with("x-") => "pack",
        _ => "file",
    }
}

/// A number of bytes with three digits or four.
fn readable(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let unit = ((bytes.ilog2() / 10) as usize).min(UNITS.len());
    let number = bytes as f64 / 1024f64.powi(unit as i32);
    let unit = UNITS.get(unit - 1).copied().unwrap_or_default();
    if number < 10.0 { format!("{number:.1} {unit}") } else { format!("{number:.0} {unit}") }
}

/// The time as ISO 8601 has it: `1994-11-06T08:49:37Z`.
pub(super) fn timestamp(time: SystemTime) -> String {
    // `Sun, 06 Nov 1994 08:49:37 GMT` has all its parts in the same places.
    let date = format_date(time);
    let part = |range: std::ops::Range<usize>| {
        date.get(range).and_then(|part| str::from_utf8(part).ok()).unwrap_or_default()
    };
    let month = "JanFebMarAprMayJunJulAugSepOctNovDec".find(part(8..11)).unwrap_or(0) / 3 + 1;
    format!("{}-{month:02}-{}T{}Z", part(12..16), part(5..7), part(17..25))
}

/// Appends text so that it means itself, in elements and in quoted attributes.
fn push_escaped(page: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '"' => page.push_str("&quot;"),
            '\'' => page.push_str("&#39;"),
            c => page.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn numbers_and_times_for_people() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (10_239, "10.0 KiB"),
            (10_240, "10 KiB"),
            (1 << 20, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(readable(bytes), text, "{bytes}");
        }
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(timestamp(time), "1994-11-06T08:49:37Z");
        assert_eq!(timestamp(SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn text_means_itself() {
        let mut page = String::new();
        push_escaped(&mut page, "<a href=\"x\" b='y'>&amp;é");
        assert_eq!(page, "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;amp;é");
    }
}
