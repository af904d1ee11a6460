//! A command as words.

use std::fmt;
use std::str::FromStr;

/// A command: a program and its arguments, split once. No shell reads it, so `$`, `*`, `|` and `;` mean themselves.
///
/// As text: words apart by blanks; `'…'` takes everything between as it is; `"…"` does but for `\"` and `\\`; a `\`
/// outside of quotes takes the next character as it is.
///
/// ```
/// use ha_core::agent::CommandLine;
/// let line: CommandLine = r#"/opt/fence {action} --node='{node} of ours'"#.parse()?;
/// assert_eq!(line.filled(&[("action", "off"), ("node", "n2")]), ["/opt/fence", "off", "--node=n2 of ours"]);
/// # Ok::<_, ha_core::agent::CommandLineError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandLine {
    words: Vec<String>,
}

impl CommandLine {
    /// A command of words that are split already.
    ///
    /// # Errors
    /// [`CommandLineError::Empty`] without a program.
    pub fn of<I: IntoIterator<Item = S>, S: Into<String>>(words: I) -> Result<Self, CommandLineError> {
        let words: Vec<String> = words.into_iter().map(Into::into).collect();
        match words.first() {
            Some(program) if !program.is_empty() => Ok(Self { words }),
            _ => Err(CommandLineError::Empty),
        }
    }

    /// The words; the first one is the program.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Whether some word holds `{name}`.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.words.iter().any(|word| word.contains(&format!("{{{name}}}")))
    }

    /// The same with one more word.
    #[must_use]
    pub fn then(mut self, word: &str) -> Self {
        self.words.push(word.into());
        self
    }

    /// The words with each `{name}` replaced by its value. A value is never split, and never read for placeholders.
    #[must_use]
    pub fn filled(&self, values: &[(&str, &str)]) -> Vec<String> {
        self.words.iter().map(|word| fill(word, values)).collect()
    }
}

fn fill(word: &str, values: &[(&str, &str)]) -> String {
    let (mut done, mut rest) = (String::new(), word);
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        done.push_str(before);
        let named =
            |(name, _): &&(&str, &str)| from[1..].strip_prefix(name).is_some_and(|r| r.starts_with('}'));
        let (value, length) = match values.iter().find(named) {
            Some((name, value)) => (*value, name.len() + 2),
            None => ("{", 1),
        };
        done.push_str(value);
        rest = from.get(length..).unwrap_or_default();
    }
    done + rest
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(" "))
    }
}

impl FromStr for CommandLine {
    type Err = CommandLineError;

    fn from_str(text: &str) -> Result<Self, CommandLineError> {
        Self::of(split(text)?)
    }
}

fn split(text: &str) -> Result<Vec<String>, CommandLineError> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' | '"' => quoted(c, &mut characters, word.get_or_insert_default(), text)?,
            '\\' => {
                let next =
                    characters.next().ok_or_else(|| CommandLineError::Escape { found: text.into() })?;
                word.get_or_insert_default().push(next);
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Takes everything up to the closing `quote`.
fn quoted(
    quote: char,
    characters: &mut std::str::Chars<'_>,
    word: &mut String,
    text: &str,
) -> Result<(), CommandLineError> {
    while let Some(c) = characters.next() {
        match c {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => match characters.next() {
                Some(c @ ('"' | '\\')) => word.push(c),
                Some(c) => word.extend(['\\', c]),
                None => break,
            },
            c => word.push(c),
        }
    }
    Err(CommandLineError::Unclosed { quote, found: text.into() })
}

/// Why a text is no command.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandLineError {
    /// No program.
    #[error(
        "found no program, expected one and its arguments, such as \"/usr/local/bin/fence {{action}} {{node}}\""
    )]
    Empty,
    /// A quote is not closed.
    #[error(
        "found {found:?} with an unclosed {quote}, expected another {quote} behind it, or \\{quote} for the character itself"
    )]
    Unclosed {
        /// Which.
        quote: char,
        /// The text.
        found: String,
    },
    /// A backslash at the end.
    #[error(
        "found {found:?} with nothing behind its last \\, expected a character, or \\\\ for the backslash itself"
    )]
    Escape {
        /// The text.
        found: String,
    },
    /// A placeholder is missing.
    #[error(
        "found \"{found}\", which has {{{has}}} but not {{{missing}}}; expected both, or neither: then they are appended as two words"
    )]
    Placeholder {
        /// The text.
        found: String,
        /// What it has.
        has: &'static str,
        /// What it lacks.
        missing: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.parse::<CommandLine>().unwrap().words
    }

    #[test]
    fn words_are_split_like_a_reader_expects() {
        assert_eq!(words("  a  b\tc\n"), ["a", "b", "c"]);
        assert_eq!(words(r#"sh -c 'a "b" $c' """#), ["sh", "-c", r#"a "b" $c"#, ""]);
        assert_eq!(words(r#"a\ b "c \"d\" \n \\""#), ["a b", r#"c "d" \n \"#]);
        assert_eq!(words("a'b'\"c\"d"), ["abcd"]);
        assert_eq!(words("ä 'ö ü'"), ["ä", "ö ü"]);
    }

    #[test]
    fn what_is_no_command_is_said() {
        let refused = |text: &str| text.parse::<CommandLine>().unwrap_err();
        assert_eq!(refused(""), CommandLineError::Empty);
        assert_eq!(refused(" \t"), CommandLineError::Empty);
        assert_eq!(refused("''"), CommandLineError::Empty);
        assert!(matches!(refused("a 'b"), CommandLineError::Unclosed { quote: '\'', .. }));
        assert!(matches!(refused("a \"b\\"), CommandLineError::Unclosed { quote: '"', .. }));
        assert!(matches!(refused("a\\"), CommandLineError::Escape { .. }));
    }

    #[test]
    fn values_are_neither_split_nor_read_again() {
        let line: CommandLine = "f {action}={node} {other} { {node".parse().unwrap();
        let filled = line.filled(&[("action", "{node}"), ("node", "a b'c")]);
        assert_eq!(filled, ["f", "{node}=a b'c", "{other}", "{", "{node"]);
        assert!(line.has("action") && line.has("node") && !line.has("f"));
    }
}
