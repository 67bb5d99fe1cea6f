//! Services and messages as a `.proto` file says them.

use std::fmt::Write;

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor, ServiceDescriptor};

/// The service or message of this name.
pub(super) fn symbol(pool: &DescriptorPool, name: &str) -> Option<String> {
    let name = name.trim_start_matches('.');
    let service = pool.get_service_by_name(name).map(|found| service(&found));
    let message = || pool.get_message_by_name(name).map(|found| message(&found));
    let variants = || {
        let found = pool.get_enum_by_name(name)?;
        let values = found.values().map(|value| (value.name().to_owned(), value.number()));
        let lines = values.map(|(name, number)| format!("  {name} = {number};\n"));
        Some(format!("enum {} {{\n{}}}", found.full_name(), lines.collect::<String>()))
    };
    service.or_else(message).or_else(variants)
}

fn service(found: &ServiceDescriptor) -> String {
    let mut text = format!("service {} {{\n", found.full_name());
    for method in found.methods() {
        let part = |streams: bool, ty: MessageDescriptor| {
            format!("({}{})", if streams { "stream " } else { "" }, ty.full_name())
        };
        let input = part(method.is_client_streaming(), method.input());
        let output = part(method.is_server_streaming(), method.output());
        let _ = writeln!(text, "  rpc {}{input} returns {output};", method.name());
    }
    text + "}"
}

fn message(found: &MessageDescriptor) -> String {
    let mut text = format!("message {} {{\n", found.full_name());
    for field in found.fields() {
        let _ = writeln!(
            text,
            "  {}{} {} = {};",
            label(&field),
            ty(&field),
            field.name(),
            field.number()
        );
    }
    text + "}"
}

fn label(field: &FieldDescriptor) -> &'static str {
    if field.is_list() { "repeated " } else { "" }
}

fn ty(field: &FieldDescriptor) -> String {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let part = |field: FieldDescriptor| ty(&field);
            let key = part(entry.map_entry_key_field());
            format!("map<{key}, {}>", part(entry.map_entry_value_field()))
        }
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(variants) => variants.full_name().to_owned(),
        other => format!("{other:?}").to_ascii_lowercase(),
    }
}
