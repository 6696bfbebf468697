//! The fields of an options object from JavaScript, read one by one.
//!
//! The package has checked them for people; what is checked here keeps the engine whole. `serde_wasm_bindgen::from_value`
//! would do the same, and bring the code that describes every type that could be there instead, floating-point printing
//! among it, which is more than all of this.

use ethertab::time::Duration;
use js_sys::Reflect;
use wasm_bindgen::JsValue;

use crate::failure::Failure;

/// An options object.
pub(crate) struct Options<'a>(pub(crate) &'a JsValue);

impl Options<'_> {
    /// A field's value; nothing if it is undefined or null.
    fn get(&self, field: &str) -> Result<Option<JsValue>, Failure> {
        let value = Reflect::get(self.0, &field.into()).map_err(|_| Failure::invalid("options must be an object"))?;
        Ok((!value.is_undefined() && !value.is_null()).then_some(value))
    }

    /// A number, if it is given.
    pub(crate) fn number(&self, field: &str) -> Result<Option<f64>, Failure> {
        let Some(value) = self.get(field)? else { return Ok(None) };
        Ok(Some(value.as_f64().ok_or_else(|| wrong(field, "a number"))?))
    }

    /// A whole number in the range of `T`, if it is given.
    pub(crate) fn integer<T: TryFrom<u64>>(&self, field: &str) -> Result<Option<T>, Failure> {
        let Some(number) = self.number(field)? else { return Ok(None) };
        let integer = number as u64;
        let fits = if integer as f64 == number { T::try_from(integer).ok() } else { None };
        Ok(Some(fits.ok_or_else(|| wrong(field, "a whole number in range"))?))
    }

    /// Microseconds, if they are given.
    pub(crate) fn micros(&self, field: &str) -> Result<Option<Duration>, Failure> {
        Ok(self.number(field)?.map(|span| Duration::from_micros(span as u64)))
    }

    /// A boolean, if it is given.
    pub(crate) fn flag(&self, field: &str) -> Result<Option<bool>, Failure> {
        let Some(value) = self.get(field)? else { return Ok(None) };
        Ok(Some(value.as_bool().ok_or_else(|| wrong(field, "a boolean"))?))
    }

    /// A text, which must be given.
    pub(crate) fn text(&self, field: &str) -> Result<String, Failure> {
        self.get(field)?.and_then(|value| value.as_string()).ok_or_else(|| wrong(field, "a string"))
    }
}

/// What to say of a field that is not there.
pub(crate) fn wrong(field: &str, expected: &str) -> Failure {
    Failure::invalid(format_args!("{field} must be {expected}"))
}
