//! The grammar of scripts, over tokens: packetdrill's, with what FreeBSD's and Linux's suites have added to it.
//!
//! Calls are parsed without knowing them: any function name, any structure. Whoever runs them says what is missing.

use std::collections::BTreeMap;
use winnow::Parser;
use winnow::combinator::{alt, cut_err, delimited, eof, opt, peek, preceded, repeat, separated, terminated};
use winnow::error::{AddContext, ErrMode, ParserError};
use winnow::stream::{Stream, TokenSlice};
use winnow::token::any;

use super::ScriptError;
use super::ast::{Action, Call, Event, Expr, Field, Script, Time};
use super::lexer::{self, Kind, Token};
use super::packet_parser::packet;
use super::settings::IpVersion;

pub(super) type Tokens<'t, 's> = TokenSlice<'t, Token<'s>>;
pub(super) type Parsed<T> = Result<T, ErrMode<Expected>>;

/// What the grammar wanted, and how many tokens were left when it did not get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    remaining: usize,
    what: &'static str,
}

impl<'t, 's: 't> ParserError<Tokens<'t, 's>> for Expected {
    type Inner = Self;

    fn from_input(input: &Tokens<'t, 's>) -> Self {
        Expected { remaining: input.eof_offset(), what: "something else" }
    }

    fn or(self, other: Self) -> Self {
        // The branch that came further knows better.
        if self.remaining < other.remaining { self } else { other }
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

impl<'t, 's: 't> AddContext<Tokens<'t, 's>, &'static str> for Expected {
    fn add_context(
        self,
        input: &Tokens<'t, 's>,
        token_start: &<Tokens<'t, 's> as Stream>::Checkpoint,
        what: &'static str,
    ) -> Self {
        // Only what fails at its first token is better called by the outer name.
        let mut start = *input;
        start.reset(token_start);
        if start.eof_offset() == self.remaining { Expected { what, ..self } } else { self }
    }
}

/// Parses a script. The symbols are those of `--define`; the script's own and those of the IP version are added.
pub(super) fn parse(
    text: &str,
    given: &BTreeMap<String, String>,
    mut version: IpVersion,
) -> Result<Script, ScriptError> {
    let mut symbols = BTreeMap::new();
    for _ in 0..2 {
        symbols = version.symbols().map(|(name, value)| (name.to_string(), value.to_string())).into();
        symbols.extend(given.clone());
        // Conditions may ask for symbols that the script's own options define, which come first.
        for token in lexer::tokens(&lexer::preprocess(text, &symbols)?)? {
            if token.kind != Kind::Option {
                continue;
            }
            if let Some(definition) = token.text.strip_prefix("--define=") {
                let (name, value) = definition.split_once('=').unwrap_or((definition, ""));
                if !given.contains_key(name) {
                    symbols.insert(name.to_string(), value.to_string());
                }
            } else if let Some(named) = token.text.strip_prefix("--ip_version=").and_then(IpVersion::named) {
                version = named;
            }
        }
    }
    let text = lexer::preprocess(text, &symbols)?;
    let tokens: Vec<Token<'_>> = lexer::tokens(&text)?.into_iter().map(|token| substitute(token, &symbols)).collect();
    script.parse(TokenSlice::new(&tokens)).map_err(|error| {
        let at = tokens.len() - error.inner().remaining.min(tokens.len());
        let line = tokens.get(at).or(tokens.last()).map_or(1, |token| token.line);
        let found = tokens.get(at).map_or("the end of the script", |token| token.text);
        ScriptError::new(line, error.inner().what, found)
    })
}

/// A symbol that was defined on the command line stands for its value.
fn substitute<'s>(token: Token<'s>, symbols: &'s BTreeMap<String, String>) -> Token<'s> {
    match symbols.get(token.text) {
        Some(value) if token.kind == Kind::Word && !value.is_empty() => {
            let kind = lexer::tokens(value).ok().and_then(|tokens| match tokens[..] {
                [only] => Some(only.kind),
                _ => None,
            });
            Token { kind: kind.unwrap_or(Kind::Word), text: value, line: token.line }
        }
        _ => token,
    }
}

/// A token of this kind.
pub(super) fn kind<'t, 's: 't>(wanted: Kind) -> impl Parser<Tokens<'t, 's>, &'s str, ErrMode<Expected>> {
    any.verify(move |token: &&Token<'_>| token.kind == wanted).map(|token: &Token<'s>| token.text)
}

/// This punctuation mark.
pub(super) fn mark<'t, 's: 't>(wanted: &'static str) -> impl Parser<Tokens<'t, 's>, (), ErrMode<Expected>> {
    any.verify(move |token: &&Token<'_>| token.kind == Kind::Punctuation && token.text == wanted).void().context(wanted)
}

/// This word.
pub(super) fn word<'t, 's: 't>(wanted: &'static str) -> impl Parser<Tokens<'t, 's>, (), ErrMode<Expected>> {
    any.verify(move |token: &&Token<'_>| token.kind == Kind::Word && token.text == wanted).void().context(wanted)
}

/// A decimal or hexadecimal number.
pub(super) fn number<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<i64> {
    any.verify_map(|token: &Token<'_>| match token.kind {
        Kind::Integer => token.text.parse().ok(),
        Kind::Hex => u64::from_str_radix(&token.text[2..], 16).ok().map(|value| value as i64),
        _ => None,
    })
    .context("a number")
    .parse_next(input)
}

/// A number that fits into the type.
pub(super) fn unsigned<'t, 's: 't, T: TryFrom<i64>>(input: &mut Tokens<'t, 's>) -> Parsed<T> {
    number.verify_map(|value| T::try_from(value).ok()).context("a number in its range").parse_next(input)
}

fn script<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<Script> {
    let options = repeat(0.., kind(Kind::Option).map(option)).parse_next(input)?;
    let events: Vec<Event> = repeat(0.., event).parse_next(input)?;
    eof.context("a time: 1.5, +.01, *").parse_next(input)?;
    Ok(Script { options, events })
}

fn option(text: &str) -> (String, Option<String>) {
    let text = text.trim_start_matches("--");
    match text.split_once('=') {
        Some(("define", value)) => ("define".into(), Some(value.into())),
        Some((name, value)) => (name.into(), Some(value.trim_matches('"').into())),
        None => (text.into(), None),
    }
}

fn event<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<Event> {
    let line = peek(any).parse_next(input)?.line;
    if let Some(command) = opt(command).parse_next(input)? {
        // Set-up and clean-up commands are written without a time.
        return Ok(Event { line, time: Time::Relative(0), action: command });
    }
    let time = time.context("a time: 1.5, +.01, *").parse_next(input)?;
    let action = cut_err(action).parse_next(input)?;
    let is_outbound = matches!(&action, Action::Packet(packet) if packet.direction == super::ast::Direction::Outbound);
    if !is_outbound && !matches!(time, Time::Absolute(_) | Time::Relative(_)) {
        let misplaced =
            Expected { remaining: input.eof_offset(), what: "an outbound packet after * or a range of time" };
        return Err(ErrMode::Cut(misplaced));
    }
    Ok(Event { line, time, action })
}

fn time<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<Time> {
    alt((
        mark("*").value(Time::Any),
        preceded(mark("+"), (micros, opt(preceded((mark("~"), opt(mark("+"))), cut_err(micros))))).map(|(from, to)| {
            match to {
                Some(to) => Time::RelativeRange(from, to),
                None => Time::Relative(from),
            }
        }),
        (micros, opt(preceded(mark("~"), cut_err(micros)))).map(|(from, to)| match to {
            Some(to) => Time::AbsoluteRange(from, to),
            None => Time::Absolute(from),
        }),
    ))
    .verify(|time| !matches!(time, Time::AbsoluteRange(from, to) | Time::RelativeRange(from, to) if from > to))
    .parse_next(input)
}

/// The largest time that a script may speak of, in seconds: some 30 years.
const LONGEST_TIME: u64 = 1_000_000_000;

/// Seconds with a fraction, in microseconds.
fn micros<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<u64> {
    any.verify_map(|token: &Token<'_>| match token.kind {
        Kind::Integer | Kind::Float => decimal_micros(token.text),
        _ => None,
    })
    .context("a time in seconds")
    .parse_next(input)
}

fn decimal_micros(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    if whole > LONGEST_TIME {
        return None;
    }
    let digits: String = fraction.chars().chain("000000".chars()).take(6).collect();
    Some(whole * 1_000_000 + digits.parse::<u64>().ok()?)
}

fn action<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<Action> {
    alt((
        command,
        kind(Kind::Code).map(|text| Action::Code(text[2..text.len() - 2].to_string())),
        packet.map(|packet| Action::Packet(Box::new(packet))),
        call.map(|call| Action::Call(Box::new(call))),
    ))
    .context("a packet, a call, a command in backticks or %{ code }%")
    .parse_next(input)
}

fn command<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<Action> {
    kind(Kind::Command).map(|text| Action::Command(text.trim_matches('`').to_string())).parse_next(input)
}

fn call<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<Call> {
    let end = opt(preceded(kind(Kind::Ellipsis), cut_err(micros))).parse_next(input)?;
    let name = kind(Kind::Word).parse_next(input)?;
    let (arguments, result) = cut_err((
        delimited(mark("("), separated(0.., argument, mark(",")), mark(")")),
        preceded(mark("="), expression),
    ))
    .parse_next(input)?;
    let errno = opt(kind(Kind::Word)).parse_next(input)?;
    opt(note).parse_next(input)?;
    Ok(Call { end, name: name.into(), arguments, result, errno: errno.map(Into::into) })
}

/// `(Operation now in progress)`: what people are told, and nobody checks.
fn note<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<()> {
    let inner = repeat::<_, _, (), _, _>(0.., any.verify(|token: &&Token<'_>| token.text != ")"));
    delimited(mark("("), inner, mark(")")).parse_next(input)
}

/// An argument; `name = value` there is a structure of one field.
fn argument<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<Expr> {
    field
        .map(|field| match field.name {
            Some(_) => Expr::Struct(vec![field]),
            None => field.value,
        })
        .parse_next(input)
}

fn field<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<Field> {
    let name = terminated((kind(Kind::Word), opt(delimited(mark("("), expression, mark(")")))), mark("="));
    let (name, value) = (opt(name), expression).parse_next(input)?;
    let (name, len) = name.map_or((None, None), |(name, len)| (Some(name.to_string()), len));
    Ok(Field { name, len, value })
}

fn expression<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<Expr> {
    let mut left = primary.parse_next(input)?;
    while opt(mark("|")).parse_next(input)?.is_some() {
        let right = cut_err(primary).parse_next(input)?;
        left = Expr::Or(Box::new(left), Box::new(right));
    }
    Ok(left)
}

fn primary<'t, 's: 't>(input: &mut Tokens<'t, 's>) -> Parsed<Expr> {
    alt((
        kind(Kind::Ellipsis).value(Expr::Ellipsis),
        number.map(Expr::Int),
        terminated(repeat::<_, _, Vec<&str>, _, _>(1.., kind(Kind::String)), opt(kind(Kind::Ellipsis)))
            .map(|parts| Expr::Str(parts.iter().map(|part| part.trim_matches('"')).collect())),
        (kind(Kind::Word), delimited(mark("("), separated(0.., argument, mark(",")), mark(")")))
            .map(|(name, arguments)| Expr::Apply(name.into(), arguments)),
        kind(Kind::Word).map(|name| Expr::Word(name.into())),
        delimited(mark("["), separated(0.., argument, mark(",")), mark("]")).map(Expr::List),
        delimited(mark("{"), separated(0.., field, mark(",")), mark("}")).map(Expr::Struct),
    ))
    .context("a value")
    .parse_next(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Script {
        parse(text, &BTreeMap::new(), IpVersion::V4).unwrap_or_else(|error| panic!("{error:?}"))
    }

    fn calls(text: &str) -> Vec<Call> {
        let call = |event| match event {
            Event { action: Action::Call(call), .. } => *call,
            other => panic!("{other:?}"),
        };
        parsed(text).events.into_iter().map(call).collect()
    }

    #[test]
    fn times_are_exact() {
        let script =
            parsed("1 close(3) = 0\n+.01 close(3) = 0\n* > . 1:1(0)\n1~2.5 > . 1:1(0)\n+0~+.000001 > . 1:1(0)\n");
        let times: Vec<Time> = script.events.iter().map(|event| event.time).collect();
        assert_eq!(
            times,
            [
                Time::Absolute(1_000_000),
                Time::Relative(10_000),
                Time::Any,
                Time::AbsoluteRange(1_000_000, 2_500_000),
                Time::RelativeRange(0, 1)
            ]
        );
        assert_eq!(script.events.iter().map(|event| event.line).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn options_and_commands_surround_the_events() {
        let script =
            parsed("--ip_version=ipv6\n--define=CC=\"reno\"\n--debug\n`./defaults.sh\nx`\n0 `sysctl a=1`\n`end`");
        assert_eq!(script.options[0], ("ip_version".into(), Some("ipv6".into())));
        assert_eq!(script.options[1], ("define".into(), Some("CC=\"reno\"".into())));
        assert_eq!(script.options[2], ("debug".into(), None));
        assert_eq!(script.events.len(), 3);
    }

    #[test]
    fn calls_have_values_of_all_kinds() {
        let text = r#"+0...0.2 connect(3, {sa_family = AF_INET, sin_port = htons(80), sin_addr = inet_addr("1.2.3.4")}, ...) = -1 EINPROGRESS (Operation now in progress)
+0 sendmsg(3, {msg_name(...)=..., msg_iov(2)=[{..., 5}, {"abc" "de", 0x10}], msg_flags=0}, MSG_DONTWAIT|MSG_MORE) = 21
+0 fcntl(3, F_GETFL) = 0x02 (flags O_RDWR|O_NONBLOCK)
+0 poll([{fd=3, events=POLLIN, revents=POLLOUT}], 1, -1) = 1"#;
        let calls = calls(text);
        assert_eq!((calls[0].end, calls[0].errno.as_deref()), (Some(200_000), Some("EINPROGRESS")));
        assert_eq!(calls[0].arguments[1].field("sin_port"), Some(&Expr::Apply("htons".into(), vec![Expr::Int(80)])));
        let Some(Expr::List(vectors)) = calls[1].arguments[1].field("msg_iov") else { panic!("{:?}", calls[1]) };
        assert!(matches!(&vectors[1], Expr::Struct(fields) if fields[0].value == Expr::Str("abcde".into())));
        assert!(matches!(calls[1].arguments[2], Expr::Or(..)));
        assert_eq!(calls[2].result, Expr::Int(2));
        assert!(matches!(&calls[3].arguments[0], Expr::List(list) if list[0].field("revents").is_some()));
    }

    #[test]
    fn symbols_stand_for_their_values() {
        let symbols = BTreeMap::from([("LEVEL".to_string(), "SOL_IP".to_string())]);
        let script = parse("0 getsockopt(3, LEVEL, SIZE, [5], [4]) = 0\n", &symbols, IpVersion::V4).unwrap();
        let Action::Call(call) = &script.events[0].action else { panic!() };
        assert_eq!(call.arguments[1], Expr::Word("SOL_IP".into()));
        let script = parsed("--define=SIZE=4\n#ifdef SIZE\n0 close(SIZE) = 0\n#endif\n");
        let Action::Call(call) = &script.events[0].action else { panic!() };
        assert_eq!(call.arguments[0], Expr::Int(4));
    }

    #[test]
    fn errors_name_the_line_and_what_was_wanted() {
        for (text, line, expected) in [
            ("+0 socket(..., SOCK_STREAM = 3\n", 1, ")"),
            ("+0 close(3) = 0\n+0 < S 0:0(0) win x\n", 2, "a number in its range"),
            ("\n+0 < S 0:5(0)\n", 2, "a sequence range that agrees with its length"),
            ("+0 close(3) = 0\nclose(3) = 0\n", 2, "a time: 1.5, +.01, *"),
            ("* close(3) = 0\n", 1, "an outbound packet after * or a range of time"),
        ] {
            let error = parse(text, &BTreeMap::new(), IpVersion::V4).unwrap_err();
            assert_eq!((error.line, error.expected.as_str()), (line, expected), "{text}");
        }
    }
}
