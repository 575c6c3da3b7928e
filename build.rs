//! Hands napi's link arguments to the addon.

fn main() {
    napi_build::setup();
}
