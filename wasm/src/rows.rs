//! What JavaScript is told that is more than one number.

use std::fmt::Display;

use ethertab::time::Duration;
use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen]
extern "C" {
    /// A JavaScript array: a text that names the fields of a row, separated by spaces, then the fields of each row, one row
    /// after the other. The package makes an object of each row, so that the names stand here only, beside what
    /// they name.
    #[wasm_bindgen(js_name = Array, typescript_type = "unknown[]")]
    #[derive(Debug)]
    pub type Rows;

    #[wasm_bindgen(constructor, js_class = "Array")]
    fn new() -> Rows;

    #[wasm_bindgen(method, js_class = "Array", js_name = push)]
    fn push_text(this: &Rows, text: &str);

    #[wasm_bindgen(method, js_class = "Array", js_name = push)]
    fn push_number(this: &Rows, number: Option<f64>);
}

impl Rows {
    /// No row yet of these fields.
    pub(crate) fn of(fields: &str) -> Rows {
        let rows = Rows::new();
        rows.push_text(fields);
        rows
    }

    /// One row of numbers.
    pub(crate) fn of_numbers<const N: usize>(fields: &str, numbers: [u64; N]) -> Rows {
        let rows = Rows::of(fields);
        for number in numbers {
            rows.number(number as f64);
        }
        rows
    }

    /// The next field is a number.
    pub(crate) fn number(&self, number: impl Into<f64>) {
        self.push_number(Some(number.into()));
    }

    /// The next field is a span of time, in milliseconds.
    pub(crate) fn millis(&self, span: Duration) {
        self.push_number(Some(span.as_micros() as f64 / 1_000.0));
    }

    /// The next field is absent, which is null in the package.
    pub(crate) fn nothing(&self) {
        self.push_number(None);
    }

    /// The next field is a text.
    pub(crate) fn text(&self, text: &str) {
        self.push_text(text);
    }

    /// The next field is a text: how `value` shows itself.
    #[inline(never)]
    pub(crate) fn shown(&self, value: &dyn Display) {
        self.push_text(&value.to_string());
    }
}
