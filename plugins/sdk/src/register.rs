//! Macros that name what a plugin is.
//!
//! A component may be several things at once. Exactly one of its macros is given the manifest; that one's type also
//! checks the settings. In a project with a `plugin.toml`, of which `jackfield plugin build` makes the manifest, it is
//! given the word `settings` instead: `register_router!(Vip, settings)`.

/// Makes a type that implements [`Connector`](crate::Connector) the connector of this plugin.
///
/// `manifest` is a byte string (`include_bytes!("../manifest.json")`): it travels in the custom section
/// `jackfield:manifest` of the component. When a plugin registers several types, one of them is given it.
#[macro_export]
macro_rules! register_connector {
    ($connector:ty, settings $(,)?) => {
        $crate::register_connector!($connector);
        #[allow(unsafe_code, reason = "exports of a component are unsafe by nature")]
        const _: () = {
            $crate::__settings!(<$connector as $crate::Connector>::validate);
        };
    };
    ($connector:ty $(, manifest = $manifest:expr)? $(,)?) => {
        #[allow(unsafe_code, reason = "exports of a component are unsafe by nature")]
        const _: () = {
            $crate::__slot!($connector);
            // Natively these would be symbols of one name in every plugin.
            #[cfg(target_arch = "wasm32")]
            $crate::bindings::connector::export!(JackfieldPlugin with_types_in $crate::bindings::connector);
            $($crate::__manifest!(<$connector as $crate::Connector>::validate, $manifest);)?
        };
    };
}

/// Makes a type that implements [`hooks::Router`](crate::hooks::Router) the router of this plugin.
///
/// `manifest` is a byte string (`include_bytes!("../manifest.json")`): it travels in the custom section
/// `jackfield:manifest` of the component. When a plugin registers several types, one of them is given it.
#[macro_export]
macro_rules! register_router {
    ($router:ty, settings $(,)?) => {
        $crate::register_router!($router);
        #[allow(unsafe_code, reason = "exports of a component are unsafe by nature")]
        const _: () = {
            $crate::__settings!(<$router as $crate::hooks::Router>::validate);
        };
    };
    ($router:ty $(, manifest = $manifest:expr)? $(,)?) => {
        #[allow(unsafe_code, reason = "exports of a component are unsafe by nature")]
        const _: () = {
            $crate::__slot!($router);
            #[cfg(target_arch = "wasm32")]
            $crate::bindings::router::export!(JackfieldPlugin with_types_in $crate::bindings::router);
            $($crate::__manifest!(<$router as $crate::hooks::Router>::validate, $manifest);)?
        };
    };
}

/// Makes a type that implements [`hooks::WaitTreatment`](crate::hooks::WaitTreatment) the wait treatment of this
/// plugin.
///
/// `manifest` is a byte string (`include_bytes!("../manifest.json")`): it travels in the custom section
/// `jackfield:manifest` of the component. When a plugin registers several types, one of them is given it.
#[macro_export]
macro_rules! register_treatment {
    ($treatment:ty, settings $(,)?) => {
        $crate::register_treatment!($treatment);
        #[allow(unsafe_code, reason = "exports of a component are unsafe by nature")]
        const _: () = {
            $crate::__settings!(<$treatment as $crate::hooks::WaitTreatment>::validate);
        };
    };
    ($treatment:ty $(, manifest = $manifest:expr)? $(,)?) => {
        #[allow(unsafe_code, reason = "exports of a component are unsafe by nature")]
        const _: () = {
            $crate::__slot!($treatment);
            #[cfg(target_arch = "wasm32")]
            $crate::bindings::wait_treatment::export!(JackfieldPlugin with_types_in $crate::bindings::wait_treatment);
            $($crate::__manifest!(<$treatment as $crate::hooks::WaitTreatment>::validate, $manifest);)?
        };
    };
}

/// Makes a type that implements [`hooks::Observer`](crate::hooks::Observer) the observer of this plugin.
///
/// `manifest` is a byte string (`include_bytes!("../manifest.json")`): it travels in the custom section
/// `jackfield:manifest` of the component. When a plugin registers several types, one of them is given it.
#[macro_export]
macro_rules! register_observer {
    ($observer:ty, settings $(,)?) => {
        $crate::register_observer!($observer);
        #[allow(unsafe_code, reason = "exports of a component are unsafe by nature")]
        const _: () = {
            $crate::__settings!(<$observer as $crate::hooks::Observer>::validate);
        };
    };
    ($observer:ty $(, manifest = $manifest:expr)? $(,)?) => {
        #[allow(unsafe_code, reason = "exports of a component are unsafe by nature")]
        const _: () = {
            $crate::__slot!($observer);
            #[cfg(target_arch = "wasm32")]
            $crate::bindings::observer::export!(JackfieldPlugin with_types_in $crate::bindings::observer);
            $($crate::__manifest!(<$observer as $crate::hooks::Observer>::validate, $manifest);)?
        };
    };
}

/// A `JackfieldPlugin` that keeps one instance of a type. Names in macros hide those of the author: `Plugin` is theirs.
#[doc(hidden)]
#[macro_export]
macro_rules! __slot {
    ($type:ty) => {
        struct JackfieldPlugin;

        ::std::thread_local! {
            static JACKFIELD_INSTANCE: ::std::cell::RefCell<::std::option::Option<$type>> =
                const { ::std::cell::RefCell::new(::std::option::Option::None) };
        }

        impl $crate::Slot for JackfieldPlugin {
            type Plugin = $type;

            fn with<JackfieldAnswer>(
                work: impl ::std::ops::FnOnce(&mut ::std::option::Option<$type>) -> JackfieldAnswer,
            ) -> JackfieldAnswer {
                JACKFIELD_INSTANCE.with_borrow_mut(work)
            }
        }
    };
}

/// The manifest, and the settings check that goes with it.
#[doc(hidden)]
#[macro_export]
macro_rules! __manifest {
    ($validate:expr, $manifest:expr) => {
        $crate::__settings!($validate);

        #[cfg(target_arch = "wasm32")]
        #[used]
        #[unsafe(link_section = "jackfield:manifest")]
        static MANIFEST: [u8; $manifest.len()] = *$manifest;
    };
}

/// The settings check.
#[doc(hidden)]
#[macro_export]
macro_rules! __settings {
    ($validate:expr) => {
        struct JackfieldSettings;

        impl $crate::bindings::settings::exports::jackfield::settings::settings::Guest
            for JackfieldSettings
        {
            fn validate(settings: ::std::string::String) -> ::std::vec::Vec<$crate::Problem> {
                $crate::say_last_words();
                $validate(&settings)
            }
        }

        #[cfg(target_arch = "wasm32")]
        $crate::bindings::settings::export!(JackfieldSettings with_types_in $crate::bindings::settings);
    };
}
