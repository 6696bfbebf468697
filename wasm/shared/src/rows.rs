//! What JavaScript is told that is more than one number.

use std::fmt::Display;
use std::net::SocketAddr;

use ethertab::time::Duration;
use js_sys::Uint8Array;
use wasm_bindgen::prelude::wasm_bindgen;

#[wasm_bindgen]
extern "C" {
    /// A JavaScript array: where the text is in memory that names the fields of a row, its length, and then the fields of
    /// each row, one row after the other. The package makes an object of each row. So the names stand in
    /// Rust only, beside what they name, and cross once.
    #[wasm_bindgen(js_name = Array, typescript_type = "unknown[]")]
    #[derive(Debug)]
    pub type Rows;

    #[wasm_bindgen(static_method_of = Rows, js_class = "Array", js_name = of)]
    fn of_names_at(address: u32, length: u32) -> Rows;

    #[wasm_bindgen(method, js_class = "Array", js_name = push)]
    fn push_text(this: &Rows, text: &str);

    #[wasm_bindgen(method, js_class = "Array", js_name = push)]
    fn push_number(this: &Rows, number: Option<f64>);

    #[wasm_bindgen(method, js_class = "Array", js_name = push)]
    fn push_bytes(this: &Rows, bytes: Uint8Array);
}

impl Rows {
    /// No row yet of the fields with these names, separated by spaces.
    pub fn of(names: &'static str) -> Rows {
        Rows::of_names_at(names.as_ptr() as usize as u32, names.len() as u32)
    }

    /// The next fields are numbers.
    pub fn numbers(self, numbers: &[u64]) -> Rows {
        for number in numbers {
            self.number(*number as f64);
        }
        self
    }

    /// The next fields are an address and a port.
    #[inline(never)]
    pub fn socket_address(&self, address: SocketAddr) {
        self.shown(&address.ip());
        self.number(address.port());
    }

    /// The next field is a number.
    pub fn number(&self, number: impl Into<f64>) {
        self.push_number(Some(number.into()));
    }

    /// The next field is a span of time, in milliseconds.
    pub fn millis(&self, span: Duration) {
        self.push_number(Some(span.as_micros() as f64 / 1_000.0));
    }

    /// The next field is absent, which is null in the package.
    pub fn nothing(&self) {
        self.push_number(None);
    }

    /// The next field is a copy of these bytes, as a `Uint8Array`.
    pub fn bytes(&self, bytes: &[u8]) {
        self.push_bytes(Uint8Array::from(bytes));
    }

    /// The next field is a text.
    pub fn text(&self, text: &str) {
        self.push_text(text);
    }

    /// The next field is a text: how `value` shows itself.
    #[inline(never)]
    pub fn shown(&self, value: &dyn Display) {
        self.push_text(&value.to_string());
    }
}
