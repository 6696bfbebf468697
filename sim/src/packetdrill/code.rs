//! What stands between `%{` and `}%`: assertions in the part of Python that scripts use. Statements are `assert`, `print`,
//! assignments and one-line `if`; values are integers, floats, texts, truth and tuples.

use logos::Logos;
use std::collections::BTreeMap;
use std::fmt;

#[derive(Logos, Clone, Copy, Debug, PartialEq, Eq)]
#[logos(skip r"[ \t\r]+")]
#[logos(skip r"\\\n")]
#[logos(skip(r"#[^\n]*", allow_greedy = true))]
enum Kind {
    #[regex(r"[0-9]+\.[0-9]*([eE][-+]?[0-9]+)?|\.[0-9]+|[0-9]+[eE][-+]?[0-9]+")]
    Float,
    #[regex(r"0x[0-9a-fA-F]+|[0-9]+")]
    Integer,
    #[regex(r"[a-zA-Z_][a-zA-Z0-9_]*")]
    Name,
    #[regex(r#""(\\.|[^"\\\n])*""#)]
    #[regex(r"'(\\.|[^'\\\n])*'")]
    Text,
    #[regex(r"==|!=|<=|>=|<<|>>|\*\*|//|\+=|-=|[-+*/%<>=(),:|&^~.\[\]]")]
    Operator,
    #[token("\n")]
    #[token(";")]
    End,
}

/// A value of Python's.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Int(i64),
    Float(f64),
    Text(String),
    Tuple(Vec<Value>),
    None,
}

impl Value {
    fn is_true(&self) -> bool {
        match self {
            Value::Int(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::Tuple(items) => !items.is_empty(),
            Value::None => false,
        }
    }

    fn float(&self) -> Option<f64> {
        match self {
            Value::Int(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value}"),
            Value::Text(text) => f.write_str(text),
            Value::Tuple(items) => {
                f.write_str("(")?;
                for (at, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if at == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
            Value::None => f.write_str("None"),
        }
    }
}

/// Why code did not run to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CodeError {
    /// An assertion does not hold: its text, and what is known about it. Counted in lines from the first of the code.
    Assertion { line: usize, text: String, got: String },
    /// A name that nobody has defined.
    Unknown { line: usize, name: String },
    /// What this part of Python does not have.
    Syntax { line: usize, found: String },
}

/// Names and their values, from one piece of code to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    variables: BTreeMap<String, Value>,
    /// What `print` has said.
    pub(super) printed: Vec<String>,
    /// Assertions that were checked.
    pub(super) assertions: usize,
}

impl Environment {
    /// Gives a name a number.
    pub(super) fn define(&mut self, name: &str, value: i64) {
        self.variables.insert(name.into(), Value::Int(value));
    }

    /// The value of an expression that is a whole number.
    pub(super) fn number(&mut self, text: &str) -> Result<i64, CodeError> {
        match Run::new(self, text)?.expression()? {
            Value::Int(value) => Ok(value),
            other => Err(CodeError::Syntax { line: 0, found: other.to_string() }),
        }
    }

    /// Runs statements.
    pub(super) fn run(&mut self, text: &str) -> Result<(), CodeError> {
        let mut run = Run::new(self, text)?;
        while run.skip_ends() {
            run.statement(true)?;
        }
        Ok(())
    }
}

struct Token<'s> {
    kind: Kind,
    text: &'s str,
    line: usize,
    /// Where the token begins and ends in the text.
    span: std::ops::Range<usize>,
}

struct Run<'e, 's> {
    environment: &'e mut Environment,
    text: &'s str,
    tokens: Vec<Token<'s>>,
    at: usize,
    /// Open brackets, in which a line's end is a blank.
    depth: usize,
}

type Result<T, E = CodeError> = std::result::Result<T, E>;

impl<'e, 's> Run<'e, 's> {
    fn new(environment: &'e mut Environment, text: &'s str) -> Result<Self> {
        let mut tokens = Vec::new();
        for (kind, span) in Kind::lexer(text).spanned() {
            let line = text[..span.start].matches('\n').count();
            let slice = &text[span.clone()];
            match kind {
                Ok(kind) => tokens.push(Token { kind, text: slice, line, span }),
                Err(()) => return Err(CodeError::Syntax { line, found: slice.into() }),
            }
        }
        Ok(Run { environment, text, tokens, at: 0, depth: 0 })
    }

    fn peek(&mut self) -> Option<(Kind, &'s str)> {
        while self.depth > 0 && self.tokens.get(self.at).is_some_and(|token| token.text == "\n") {
            self.at += 1;
        }
        self.tokens.get(self.at).map(|token| (token.kind, token.text))
    }

    fn line(&self) -> usize {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(0, |token| token.line)
    }

    fn take(&mut self, wanted: &str) -> bool {
        let found = self.peek().is_some_and(|(kind, text)| text == wanted && kind != Kind::Text);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: &str) -> Result<()> {
        if self.take(wanted) { Ok(()) } else { self.syntax() }
    }

    fn syntax<T>(&mut self) -> Result<T> {
        let found = self.peek().map_or("the end", |(_, text)| text).to_string();
        Err(CodeError::Syntax { line: self.line(), found })
    }

    /// Skips ends of statements; whether anything follows.
    fn skip_ends(&mut self) -> bool {
        while let Some((Kind::End, _)) = self.peek() {
            self.at += 1;
        }
        self.at < self.tokens.len()
    }

    /// Runs a statement, or only reads over it where a condition says so.
    fn statement(&mut self, counts: bool) -> Result<()> {
        let line = self.line();
        if self.take("assert") {
            let start = self.tokens.get(self.at).map_or(0, |token| token.span.start);
            let value = self.expression()?;
            let end = self.tokens[..self.at].last().map_or(start, |token| token.span.end);
            let text = self.text[start..end].to_string();
            let message = if self.take(",") { Some(self.tuple()?) } else { None };
            if counts {
                self.environment.assertions += 1;
                if !value.is_true() {
                    let got = message.map_or_else(|| self.values_in(&text), |message| message.to_string());
                    return Err(CodeError::Assertion { line, text, got });
                }
            }
        } else if self.take("print") {
            let end = matches!(self.peek(), None | Some((Kind::End, _)));
            let value = if end { Value::Text(String::new()) } else { self.tuple()? };
            if counts {
                self.environment.printed.push(value.to_string());
            }
        } else if self.take("import") || self.take("from") || self.take("pass") {
            while !matches!(self.peek(), None | Some((Kind::End, _))) {
                self.at += 1;
            }
        } else if self.take("if") {
            let condition = self.expression()?.is_true();
            self.expect(":")?;
            self.statement(counts && condition)?;
            self.skip_ends();
            if self.take("else") {
                self.expect(":")?;
                self.statement(counts && !condition)?;
            }
            return Ok(());
        } else {
            self.assignment(counts)?;
        }
        match self.peek() {
            None | Some((Kind::End, _)) => Ok(()),
            Some(_) => self.syntax(),
        }
    }

    fn assignment(&mut self, counts: bool) -> Result<()> {
        let Some((Kind::Name, name)) = self.peek() else {
            return self.expression().map(|_| ());
        };
        let operator = self.tokens.get(self.at + 1).map_or("", |token| token.text);
        if !matches!(operator, "=" | "+=" | "-=") {
            return self.expression().map(|_| ());
        }
        self.at += 2;
        let mut value = self.tuple()?;
        if operator != "=" {
            let before = self.variable(name)?;
            value = self.binary(&operator[..1], before, value)?;
        }
        if counts {
            self.environment.variables.insert(name.into(), value);
        }
        Ok(())
    }

    /// What the names in an assertion stand for, for people.
    fn values_in(&self, text: &str) -> String {
        let names =
            Kind::lexer(text).spanned().filter(|(kind, _)| *kind == Ok(Kind::Name)).map(|(_, span)| &text[span]);
        let mut known: Vec<String> =
            names.filter_map(|name| Some(format!("{name} = {}", self.environment.variables.get(name)?))).collect();
        known.dedup();
        if known.is_empty() { "it does not hold".into() } else { known.join(", ") }
    }

    fn tuple(&mut self) -> Result<Value> {
        let first = self.expression()?;
        let mut items = vec![first];
        while self.take(",") {
            if matches!(self.peek(), None | Some((Kind::End, _) | (_, ")" | "]"))) {
                return Ok(Value::Tuple(items));
            }
            items.push(self.expression()?);
        }
        Ok(if items.len() == 1 { items.remove(0) } else { Value::Tuple(items) })
    }

    fn expression(&mut self) -> Result<Value> {
        let value = self.or()?;
        if self.take("if") {
            let condition = self.or()?.is_true();
            self.expect("else")?;
            let other = self.expression()?;
            return Ok(if condition { value } else { other });
        }
        Ok(value)
    }

    fn or(&mut self) -> Result<Value> {
        let mut left = self.and()?;
        while self.take("or") {
            let right = self.and()?;
            left = if left.is_true() { left } else { right };
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Value> {
        let mut left = self.not()?;
        while self.take("and") {
            let right = self.not()?;
            left = if left.is_true() { right } else { left };
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Value> {
        if self.take("not") {
            return Ok(Value::Int(i64::from(!self.not()?.is_true())));
        }
        self.comparison()
    }

    /// Comparisons chain: `1 <= x < 3`.
    fn comparison(&mut self) -> Result<Value> {
        let mut left = self.arithmetic(0)?;
        let (mut holds, mut compared) = (true, false);
        loop {
            let negated = matches!(self.peek(), Some((Kind::Name, "not")));
            self.at += usize::from(negated);
            let operator = match self.peek() {
                Some((Kind::Operator, operator @ ("==" | "!=" | "<" | "<=" | ">" | ">="))) if !negated => operator,
                Some((Kind::Name, "in")) => "in",
                _ if negated => return self.syntax(),
                _ => break,
            };
            self.at += 1;
            let right = self.arithmetic(0)?;
            holds &= self.compare(operator, &left, &right)? != negated;
            (left, compared) = (right, true);
        }
        Ok(if compared { Value::Int(i64::from(holds)) } else { left })
    }

    fn compare(&mut self, operator: &str, left: &Value, right: &Value) -> Result<bool> {
        if let ("in", Value::Tuple(items)) = (operator, right) {
            return Ok(items.contains(left));
        }
        let order = match (left, right) {
            (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
            (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
            _ => match (left.float(), right.float()) {
                (Some(a), Some(b)) => a.partial_cmp(&b),
                _ => return Ok((operator == "!=") != (left == right)),
            },
        };
        Ok(match (operator, order) {
            ("==", order) => order.is_some_and(|order| order.is_eq()),
            ("!=", order) => order.is_none_or(|order| order.is_ne()),
            ("<", Some(order)) => order.is_lt(),
            ("<=", Some(order)) => order.is_le(),
            (">", Some(order)) => order.is_gt(),
            (">=", Some(order)) => order.is_ge(),
            _ => return self.syntax(),
        })
    }

    /// Operators by their level, the weakest first; each level is left-associative.
    fn arithmetic(&mut self, level: usize) -> Result<Value> {
        const LEVELS: [&[&str]; 6] = [&["|"], &["^"], &["&"], &["<<", ">>"], &["+", "-"], &["*", "/", "//", "%"]];
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.arithmetic(level + 1)?;
        while let Some((Kind::Operator, operator)) = self.peek()
            && operators.contains(&operator)
        {
            self.at += 1;
            let right = self.arithmetic(level + 1)?;
            left = self.binary(operator, left, right)?;
        }
        Ok(left)
    }

    fn binary(&mut self, operator: &str, left: Value, right: Value) -> Result<Value> {
        if let (Value::Int(a), Value::Int(b)) = (&left, &right) {
            let (a, b) = (*a, *b);
            let shift = u32::try_from(b).unwrap_or(64);
            let whole = match operator {
                "|" => Some(a | b),
                "^" => Some(a ^ b),
                "&" => Some(a & b),
                "<<" => a.checked_shl(shift),
                ">>" => Some(a >> shift.min(63)),
                "+" => a.checked_add(b),
                "-" => a.checked_sub(b),
                "*" => a.checked_mul(b),
                "//" => a.checked_div_euclid(b),
                "%" => a.checked_rem_euclid(b),
                "**" => a.checked_pow(shift),
                _ => None,
            };
            if let Some(whole) = whole {
                return Ok(Value::Int(whole));
            }
        }
        match (operator, &left, &right) {
            ("+", Value::Text(a), Value::Text(b)) => return Ok(Value::Text(format!("{a}{b}"))),
            ("%", Value::Text(format), argument) => return Ok(Value::Text(percent(format, argument))),
            _ => {}
        }
        let (Some(a), Some(b)) = (left.float(), right.float()) else { return self.syntax() };
        let value = match operator {
            "+" => a + b,
            "-" => a - b,
            "*" => a * b,
            "/" if b != 0.0 => a / b,
            "//" if b != 0.0 => (a / b).floor(),
            "%" if b != 0.0 => a.rem_euclid(b),
            "**" => a.powf(b),
            _ => return self.syntax(),
        };
        Ok(Value::Float(value))
    }

    fn unary(&mut self) -> Result<Value> {
        if self.take("-") {
            return match self.unary()? {
                Value::Int(value) => Ok(Value::Int(value.wrapping_neg())),
                Value::Float(value) => Ok(Value::Float(-value)),
                _ => self.syntax(),
            };
        }
        if self.take("+") {
            return self.unary();
        }
        if self.take("~") {
            return match self.unary()? {
                Value::Int(value) => Ok(Value::Int(!value)),
                _ => self.syntax(),
            };
        }
        let mut base = self.primary()?;
        while self.take(".") {
            base = self.method(&base)?;
        }
        if self.take("**") {
            let exponent = self.unary()?;
            return self.binary("**", base, exponent);
        }
        Ok(base)
    }

    fn primary(&mut self) -> Result<Value> {
        let Some((kind, text)) = self.peek() else { return self.syntax() };
        let line = self.line();
        self.at += 1;
        let overflow = |_| CodeError::Syntax { line, found: text.into() };
        match (kind, text) {
            (Kind::Integer, _) => match text.strip_prefix("0x") {
                Some(hex) => i64::from_str_radix(hex, 16).map(Value::Int).map_err(overflow),
                None => text.parse().map(Value::Int).map_err(overflow),
            },
            (Kind::Float, _) => Ok(Value::Float(text.parse().unwrap_or(0.0))),
            (Kind::Text, _) => Ok(Value::Text(text[1..text.len() - 1].into())),
            (Kind::Operator, open @ ("(" | "[")) => {
                let close = if open == "(" { ")" } else { "]" };
                self.depth += 1;
                let value = if self.peek().is_some_and(|(_, text)| text == close) {
                    Value::Tuple(Vec::new())
                } else {
                    self.tuple()?
                };
                let closed = self.expect(close);
                self.depth -= 1;
                closed?;
                Ok(match (open, value) {
                    ("[", value @ Value::Tuple(_)) | ("(", value) => value,
                    (_, single) => Value::Tuple(vec![single]),
                })
            }
            (Kind::Name, "True") => Ok(Value::Int(1)),
            (Kind::Name, "False") => Ok(Value::Int(0)),
            (Kind::Name, "None") => Ok(Value::None),
            (Kind::Name, name) if self.take("(") => {
                let arguments = self.arguments()?;
                self.apply(name, &arguments)
            }
            (Kind::Name, name) => self.variable(name),
            _ => {
                self.at -= 1;
                self.syntax()
            }
        }
    }

    /// `TEXT.format(...)`, the one method that scripts use.
    fn method(&mut self, receiver: &Value) -> Result<Value> {
        let line = self.line();
        let name = match self.peek() {
            Some((Kind::Name, name)) => name,
            _ => return self.syntax(),
        };
        self.at += 1;
        self.expect("(")?;
        let arguments = self.arguments()?;
        match (name, receiver) {
            ("format", Value::Text(format)) => Ok(Value::Text(braces(format, &arguments))),
            _ => Err(CodeError::Unknown { line, name: format!("{name}()") }),
        }
    }

    /// The arguments of a call up to the closing parenthesis.
    fn arguments(&mut self) -> Result<Vec<Value>> {
        self.depth += 1;
        let arguments = match self.peek() {
            Some((_, ")")) => Ok(Vec::new()),
            _ => self.tuple().map(|value| match value {
                Value::Tuple(items) => items,
                single => vec![single],
            }),
        };
        let closed = self.expect(")");
        self.depth -= 1;
        let arguments = arguments?;
        closed.map(|()| arguments)
    }

    fn variable(&mut self, name: &str) -> Result<Value> {
        let known = self.environment.variables.get(name).cloned();
        known.ok_or_else(|| CodeError::Unknown { line: self.line(), name: name.into() })
    }

    fn apply(&mut self, name: &str, arguments: &[Value]) -> Result<Value> {
        let extreme = |largest: bool| {
            arguments.iter().cloned().reduce(|best, next| {
                let larger = next.float() > best.float();
                if larger == largest { next } else { best }
            })
        };
        match (name, arguments) {
            ("abs", [Value::Int(value)]) => Ok(Value::Int(value.wrapping_abs())),
            ("abs", [Value::Float(value)]) => Ok(Value::Float(value.abs())),
            ("int" | "round", [value]) if value.float().is_some() => {
                let value = value.float().unwrap_or(0.0);
                Ok(Value::Int(if name == "int" { value.trunc() } else { value.round_ties_even() } as i64))
            }
            ("float", [value]) if value.float().is_some() => Ok(Value::Float(value.float().unwrap_or(0.0))),
            ("str" | "repr", [value]) => Ok(Value::Text(value.to_string())),
            ("len", [Value::Text(text)]) => Ok(Value::Int(text.chars().count() as i64)),
            ("len", [Value::Tuple(items)]) => Ok(Value::Int(items.len() as i64)),
            ("max", _) => extreme(true).map_or_else(|| self.syntax(), Ok),
            ("min", _) => extreme(false).map_or_else(|| self.syntax(), Ok),
            _ => Err(CodeError::Unknown { line: self.line(), name: format!("{name}()") }),
        }
    }
}

/// `"{} of {}".format(1, 2)`: each pair of braces takes the next value, or the one whose number is in it.
fn braces(format: &str, arguments: &[Value]) -> String {
    let mut out = String::new();
    let (mut rest, mut next) = (format, 0);
    while let Some((before, tail)) = rest.split_once('{') {
        let Some((inner, after)) = tail.split_once('}') else { break };
        let at = inner.split(':').next().and_then(|number| number.parse().ok()).unwrap_or(next);
        next = at + 1;
        out.push_str(before);
        out.push_str(&arguments.get(at).map(ToString::to_string).unwrap_or_default());
        rest = after;
    }
    out + rest
}

/// `"%d of %d" % (1, 2)`: each directive takes the next value.
fn percent(format: &str, arguments: &Value) -> String {
    let single = std::slice::from_ref(arguments);
    let mut values = match arguments {
        Value::Tuple(items) => items.iter(),
        _ => single.iter(),
    };
    let mut out = String::new();
    let mut parts = format.chars().peekable();
    while let Some(character) = parts.next() {
        match (character, parts.peek()) {
            ('%', Some('%')) => {
                parts.next();
                out.push('%');
            }
            ('%', Some(_)) => {
                while parts.next_if(|next| !next.is_alphabetic()).is_some() {}
                parts.next();
                out.push_str(&values.next().map(ToString::to_string).unwrap_or_default());
            }
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        let mut environment = Environment::default();
        for (name, value) in [("tcpi_snd_cwnd", 10), ("tcpi_rtt", 100_500), ("TCP_CA_Open", 0), ("tcpi_ca_state", 0)] {
            environment.define(name, value);
        }
        environment
    }

    #[test]
    fn assertions_that_hold() {
        let mut environment = environment();
        for code in [
            " assert tcpi_snd_cwnd == 10 ",
            "assert tcpi_snd_cwnd == 10, tcpi_snd_cwnd\nassert 100*1000 <= tcpi_rtt <= 101*1000",
            "assert (tcpi_ca_state == TCP_CA_Open and\n  not tcpi_snd_cwnd < 3) or False",
            "x = tcpi_snd_cwnd // 3\nassert x == 3; assert x * 2 + 1 == 7",
            "assert abs(tcpi_rtt - 100000) < 1e3 and max(1, 2, 3) == 3 and min(4, 2) == 2",
            "assert tcpi_snd_cwnd in (1, 10) and 5 not in [1, 2]",
            "assert 7 & 3 == 3 and 1 << 4 | 1 == 17 and 2 ** 3 == 8 and -7 // 2 == -4",
            "print(\"cwnd %d\" % tcpi_snd_cwnd)\nif tcpi_snd_cwnd > 3: y = 1\nelse: y = 2\nassert y == 1",
            "print \"{}\\t{:d}\".format(tcpi_snd_cwnd, 7)",
            "x += 4\nassert x == 7\nassert int(7 / 2) == 3 and 7 / 2 == 3.5",
        ] {
            environment.run(code).unwrap_or_else(|error| panic!("{code}: {error:?}"));
        }
        assert_eq!(environment.printed, ["cwnd 10", "10\\t7"]);
        assert!(environment.assertions >= 10);
    }

    #[test]
    fn assertions_that_do_not_hold_say_why() {
        let mut environment = environment();
        assert_eq!(
            environment.run("x = 1\nassert tcpi_snd_cwnd == 11"),
            Err(CodeError::Assertion { line: 1, text: "tcpi_snd_cwnd == 11".into(), got: "tcpi_snd_cwnd = 10".into() })
        );
        let message = environment.run("assert tcpi_rtt < 5, \"rtt\"").unwrap_err();
        assert!(matches!(message, CodeError::Assertion { got, .. } if got == "rtt"));
        assert_eq!(
            environment.run("assert tcpi_magic == 1"),
            Err(CodeError::Unknown { line: 0, name: "tcpi_magic".into() })
        );
        for code in ["assert", "assert (1", "x = ", "for i in y: pass", "assert 1 +", "assert 1 2", "1 / 0"] {
            assert!(environment.run(code).is_err(), "{code}");
        }
    }
}
