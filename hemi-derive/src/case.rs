//! The naming conventions of `#[serde(rename_all = "…")]`.
use syn::{Error, LitStr, Result};

#[derive(Clone, Copy)]
pub(crate) enum Case {
    Unchanged,
    Lower,
    Upper,
    Pascal,
    Camel,
    Snake,
    ScreamingSnake,
    Kebab,
    ScreamingKebab,
}

impl Case {
    pub(crate) fn parse(name: &LitStr) -> Result<Self> {
        Ok(match &*name.value() {
            "lowercase" => Self::Lower,
            "UPPERCASE" => Self::Upper,
            "PascalCase" => Self::Pascal,
            "camelCase" => Self::Camel,
            "snake_case" => Self::Snake,
            "SCREAMING_SNAKE_CASE" => Self::ScreamingSnake,
            "kebab-case" => Self::Kebab,
            "SCREAMING-KEBAB-CASE" => Self::ScreamingKebab,
            _ => return Err(Error::new(name.span(), "serde knows no such case")),
        })
    }

    /// The name of a field that is written in snake case.
    pub(crate) fn of_field(self, name: &str) -> String {
        let pascal = || name.split('_').map(capitalize).collect::<String>();
        match self {
            Self::Unchanged | Self::Lower | Self::Snake => name.to_owned(),
            Self::Upper | Self::ScreamingSnake => name.to_ascii_uppercase(),
            Self::Pascal => pascal(),
            Self::Camel => decapitalize(&pascal()),
            Self::Kebab => name.replace('_', "-"),
            Self::ScreamingKebab => name.to_ascii_uppercase().replace('_', "-"),
        }
    }

    /// The name of a variant that is written in Pascal case.
    pub(crate) fn of_variant(self, name: &str) -> String {
        let mut snake = String::new();
        for (index, c) in name.char_indices() {
            if index > 0 && c.is_uppercase() {
                snake.push('_');
            }
            snake.push(c.to_ascii_lowercase());
        }
        match self {
            Self::Unchanged | Self::Pascal => name.to_owned(),
            Self::Lower => name.to_ascii_lowercase(),
            Self::Upper => name.to_ascii_uppercase(),
            Self::Camel => decapitalize(name),
            Self::Snake | Self::ScreamingSnake | Self::Kebab | Self::ScreamingKebab => {
                self.of_field(&snake)
            }
        }
    }
}

fn capitalize(word: &str) -> String {
    map_first(word, |c| c.to_ascii_uppercase())
}

fn decapitalize(word: &str) -> String {
    map_first(word, |c| c.to_ascii_lowercase())
}

fn map_first(word: &str, map: fn(char) -> char) -> String {
    let mut chars = word.chars();
    chars.next().map(map).into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renames_like_serde() {
        let cases = [
            (Case::Camel, "indexFile", "leastUsed"),
            (Case::Pascal, "IndexFile", "LeastUsed"),
            (Case::Lower, "index_file", "leastused"),
            (Case::Upper, "INDEX_FILE", "LEASTUSED"),
            (Case::Snake, "index_file", "least_used"),
            (Case::Kebab, "index-file", "least-used"),
            (Case::ScreamingSnake, "INDEX_FILE", "LEAST_USED"),
            (Case::ScreamingKebab, "INDEX-FILE", "LEAST-USED"),
            (Case::Unchanged, "index_file", "LeastUsed"),
        ];
        for (case, field, variant) in cases {
            assert_eq!(case.of_field("index_file"), field);
            assert_eq!(case.of_variant("LeastUsed"), variant);
        }
    }
}
