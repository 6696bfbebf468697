//! What the package calls the numbers of records, for the tests of those who make them.

const NAMES: &str = include_str!("../../pkg/src/names.ts");

/// The lines of one of the package's lists.
fn lines(list: &str) -> impl Iterator<Item = &'static str> + use<> {
    let begin = format!("export const {list} = `\n");
    let rest = NAMES.split_once(&begin).expect("there is the list").1;
    rest.split('`').next().expect("it has a beginning").lines().map(str::trim).filter(|line| !line.is_empty())
}

/// The names in one of the package's lists, with what stands behind them.
pub(crate) fn fields(list: &str) -> Vec<&'static str> {
    lines(list).flat_map(|line| line.split(' ')).collect()
}

/// The names in a line of a list, without the first.
pub(crate) fn line(list: &str, first: &str) -> Vec<&'static str> {
    let found = lines(list).find(|line| line.split(' ').next() == Some(first)).expect("there is the line");
    found.split(' ').skip(1).collect()
}

/// The word for a number in a field such as `state=states`.
pub(crate) fn word(field: &str, number: usize) -> &'static str {
    line("WORDS", field.split_once('=').expect("the field has words").1)[number]
}

/// The first names in the lines of a list.
pub(crate) fn firsts(list: &str) -> Vec<&'static str> {
    lines(list).filter_map(|line| line.split(' ').next()).collect()
}
