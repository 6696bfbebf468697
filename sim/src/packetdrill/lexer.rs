//! From text to tokens, and the preprocessor's lines before that.

use logos::{Lexer, Logos};
use std::collections::BTreeMap;

use super::ScriptError;

/// What a token is. Words that mean something only in one place, such as `win` or `sackOK`, are plain words here.
#[derive(Logos, Clone, Copy, Debug, PartialEq, Eq)]
#[logos(skip r"[ \t\r\n\f]+")]
#[logos(skip(r"//[^\n]*", allow_greedy = true))]
#[logos(skip r"/\*([^*]|\*+[^*/])*\*+/")]
pub(super) enum Kind {
    /// `--name` or `--name=value`, as one token, since a value may be an address.
    #[regex(r#"--[a-zA-Z0-9_]+(=[^\s"`]*("[^"]*"|`[^`]*`)?)?"#)]
    Option,
    #[regex(r"-?[0-9]*\.[0-9]+", priority = 20)]
    Float,
    #[regex(r"-?[0-9]+", priority = 20)]
    Integer,
    #[regex(r"0x[0-9a-fA-F]+", priority = 20)]
    Hex,
    #[regex(r"[a-zA-Z0-9_]+", priority = 10)]
    Word,
    /// `exp-FO` and its like, names of experimental options.
    #[regex(r"exp-[a-zA-Z0-9]+", priority = 15)]
    Experimental,
    #[regex(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+", priority = 25)]
    Ipv4,
    #[regex(r"[0-9a-fA-F:]*::[0-9a-fA-F]*(:[0-9a-fA-F]+)*", priority = 25)]
    Ipv6,
    #[regex(r#""(\\.|[^"\\])*""#)]
    String,
    #[token("`", command)]
    Command,
    #[token("%{", code)]
    Code,
    #[token("...", priority = 30)]
    Ellipsis,
    #[regex(r"[^\s]", priority = 1)]
    Punctuation,
}

fn command(lexer: &mut Lexer<'_, Kind>) -> bool {
    let rest = lexer.remainder();
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            b'`' if !escaped => {
                lexer.bump(at + 1);
                return true;
            }
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    false
}

fn code(lexer: &mut Lexer<'_, Kind>) -> bool {
    match lexer.remainder().find("}%") {
        Some(at) => {
            lexer.bump(at + 2);
            true
        }
        None => false,
    }
}

/// A token with its text and the line that it begins on, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'s> {
    pub(super) kind: Kind,
    pub(super) text: &'s str,
    pub(super) line: usize,
}

/// Splits a script into tokens.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, ScriptError> {
    let mut out = Vec::new();
    let (mut line, mut counted) = (1, 0);
    for (kind, span) in Kind::lexer(text).spanned() {
        line += text[counted..span.start].matches('\n').count();
        counted = span.start;
        let text = &text[span];
        match kind {
            Ok(kind) => out.push(Token { kind, text, line }),
            Err(()) => return Err(ScriptError::new(line, "the end of what begins here", text)),
        }
    }
    Ok(out)
}

/// Blanks the lines that `#ifdef`, `#ifndef`, `#else` and `#endif` leave out, and these themselves, so that lines keep their
/// numbers.
pub(super) fn preprocess(text: &str, symbols: &BTreeMap<String, String>) -> Result<String, ScriptError> {
    // Each open condition: its line, whether this branch counts, whether `#else` has come.
    let mut open: Vec<(usize, bool, bool)> = Vec::new();
    let mut out = String::with_capacity(text.len());
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some(directive @ ("#ifdef" | "#ifndef")), Some(symbol)) => {
                open.push((number, symbols.contains_key(symbol) == (directive == "#ifdef"), false));
            }
            (Some("#else"), _) => match open.last_mut() {
                Some((_, counts, has_else @ false)) => (*counts, *has_else) = (!*counts, true),
                _ => return Err(ScriptError::new(number, "#ifdef before #else", "#else")),
            },
            (Some("#endif"), _) if open.pop().is_none() => {
                return Err(ScriptError::new(number, "#ifdef before #endif", "#endif"));
            }
            (Some("#endif"), _) => {}
            _ if open.iter().all(|(_, counts, _)| *counts) => out.push_str(line),
            _ => {}
        }
        out.push('\n');
    }
    match open.last() {
        Some((line, ..)) => Err(ScriptError::new(*line, "#endif", "the end of the script")),
        None => Ok(out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(Kind, &str)> {
        tokens(text).unwrap().iter().map(|token| (token.kind, token.text)).collect()
    }

    #[test]
    fn times_ranges_and_ellipses_are_told_apart() {
        assert_eq!(
            kinds("+0...0.1 1.5~+.2"),
            [
                (Kind::Punctuation, "+"),
                (Kind::Integer, "0"),
                (Kind::Ellipsis, "..."),
                (Kind::Float, "0.1"),
                (Kind::Float, "1.5"),
                (Kind::Punctuation, "~"),
                (Kind::Punctuation, "+"),
                (Kind::Float, ".2"),
            ]
        );
    }

    #[test]
    fn sequence_numbers_are_no_addresses_and_cookies_are_words() {
        assert_eq!(
            kinds("1:1001(1000) FO 00ab 192.0.2.1 2001:db8::1"),
            [
                (Kind::Integer, "1"),
                (Kind::Punctuation, ":"),
                (Kind::Integer, "1001"),
                (Kind::Punctuation, "("),
                (Kind::Integer, "1000"),
                (Kind::Punctuation, ")"),
                (Kind::Word, "FO"),
                (Kind::Word, "00ab"),
                (Kind::Ipv4, "192.0.2.1"),
                (Kind::Ipv6, "2001:db8::1"),
            ]
        );
    }

    #[test]
    fn comments_code_and_commands_may_span_lines() {
        let text = "// one\n/* two\n * three ** */ `a\nb` %{ x = 1\nassert x }%\n+";
        let lines: Vec<usize> = tokens(text).unwrap().iter().map(|token| token.line).collect();
        assert_eq!(kinds(text)[0], (Kind::Command, "`a\nb`"));
        assert_eq!(lines, [3, 4, 6]);
        assert_eq!(tokens("\n`open").unwrap_err().line, 2);
    }

    #[test]
    fn conditions_blank_lines_and_keep_their_numbers() {
        let symbols = BTreeMap::from([("A".to_string(), String::new())]);
        let text = "#ifdef A\n1\n#else\n2\n#endif\n#ifndef A\n3\n#endif\n4\n";
        assert_eq!(preprocess(text, &symbols).unwrap(), "\n1\n\n\n\n\n\n\n4\n");
        assert_eq!(preprocess("\n#ifdef A\n", &symbols).unwrap_err().line, 2);
        assert!(preprocess("#else\n", &symbols).is_err() && preprocess("#endif\n", &symbols).is_err());
    }
}
