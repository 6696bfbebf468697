//! [`scene`] as a WebAssembly module. The native program has the scene as a module of its own: Cargo optimizes across crates only what is not
//! an rlib besides.

mod scene;

use std::cell::RefCell;

use scene::{Kind, Scene, bytes_per_flow};

thread_local! {
    static SCENE: RefCell<Option<Scene>> = const { RefCell::new(None) };
}

/// [`Scene::new`] for WebAssembly, with 0 for IPv4, 1 for IPv6 and 2 for translation; 0 if it went well.
#[unsafe(no_mangle)]
pub extern "C" fn setup_forward(kind: u32, flows: u32) -> u32 {
    let kind = match kind {
        0 => Kind::Ipv4,
        1 => Kind::Ipv6,
        _ => Kind::Nat,
    };
    // The memory of the last one first.
    SCENE.set(None);
    SCENE.set(Scene::new(kind, flows as usize));
    SCENE.with_borrow(|scene| if scene.is_some() { 0 } else { 3 })
}

/// [`Scene::forward`] for WebAssembly; 0 if all packets were forwarded.
#[unsafe(no_mangle)]
pub extern "C" fn forward(packets: u32) -> u32 {
    SCENE.with_borrow_mut(|scene| match scene.as_mut().map(|scene| scene.forward(packets as usize)) {
        None => 4,
        Some(true) => 0,
        Some(false) => 3,
    })
}

/// [`bytes_per_flow`] of this build.
#[unsafe(no_mangle)]
pub extern "C" fn flow_bytes() -> u32 {
    bytes_per_flow() as u32
}
