//! TCP against a peer that the test plays segment by segment. Names begin with the adversity's number in the project's list
//! (T1, T2, ...); each scenario runs over both families, and with sequence numbers that wrap in the middle of it (T28).

mod clock;
mod closing;
mod floods;
mod handshake;
mod loss;
mod peer;
mod reasons;
mod receiving;
mod sending;
mod spoofing;
