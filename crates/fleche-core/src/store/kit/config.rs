//! `store_configs!`: the configurations of the two stores of a backend, which differ only in what they open.

use std::path::{Path, PathBuf};

/// Where a store is: the setting that a configuration begins with.
pub trait Location {
    /// Resolves a relative path against this directory, in which the configuration was found.
    fn resolve(&mut self, directory: &Path);
}

impl Location for PathBuf {
    fn resolve(&mut self, directory: &Path) {
        *self = directory.join(&*self);
    }
}

/// Returns whether a setting has its default value, for `#[serde(skip_serializing_if = "…")]`.
pub fn is_default<T: Default + PartialEq>(setting: &T) -> bool {
    *setting == T::default()
}

/// Defines the configurations of the stores of a backend: a structure for values and one for records, with the same
/// fields. Each is followed by the function that opens the store which it describes.
///
/// `location` is where the stores are, of a type that implements [`Location`](crate::store::kit::Location). Each of the
/// `settings` has a default value, and a method of its name that sets it; `as` names another type that the method accepts.
/// Text without a setting is read with its default only if its attributes say so. `methods` are added to both structures.
///
/// The type's name is in users' configurations: it is permanent. So are the names of the fields. The crate that uses the
/// macro depends on `serde` and `typetag`.
///
/// ```
/// use std::path::PathBuf;
/// use fleche_core::{layer::Void, store::{Reach, ValueStoreConfig}};
///
/// fleche_core::store_configs! {
///     type: "example-database",
///     reach: Reach::Exclusive,
///     /// The configuration of the values.
///     values: ExampleValuesConfig => |config| Ok(Void),
///     /// The configuration of the records.
///     calls: ExampleCallsConfig => |config| Ok(Void),
///     location: {
///         /// The directory.
///         #[serde(with = "fleche_core::store::portable_path")]
///         path: PathBuf
///     },
///     settings: {
///         /// The size of the cache in memory, in bytes. The default is 0.
///         #[serde(default, skip_serializing_if = "fleche_core::store::kit::is_default")]
///         cache: u64 = 0,
///         /// The name in messages.
///         #[serde(default, skip_serializing_if = "fleche_core::store::kit::is_default")]
///         title: Option<String> as String = None,
///     }
/// }
///
/// let config = ExampleValuesConfig::new("results").title("My results");
/// let boxed: Box<dyn ValueStoreConfig> = Box::new(config);
/// assert_eq!(serde_json::to_string(&boxed)?, r#"{"type":"example-database","path":"results","title":"My results"}"#);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[macro_export]
macro_rules! store_configs {
    (
        type: $type:literal,
        reach: $reach:expr,
        $(#[$values_doc:meta])* values: $values_config:ident => $open_values:expr,
        $(#[$calls_doc:meta])* calls: $calls_config:ident => $open_calls:expr,
        $($fields:tt)*
    ) => {
        $crate::store_configs! { @define $type, $reach, [$(#[$values_doc])*] $values_config, $open_values,
            $crate::store::ValueStoreConfig, $crate::ValueStore, $($fields)* }
        $crate::store_configs! { @define $type, $reach, [$(#[$calls_doc])*] $calls_config, $open_calls,
            $crate::store::CallStoreConfig, $crate::CallStore, $($fields)* }
    };
    (
        @define $type:literal, $reach:expr, [$(#[$doc:meta])*] $config:ident, $open:expr, $config_trait:path, $store_trait:path,
        location: { $(#[$location_attr:meta])* $location:ident: $location_type:ty }
        $(, settings: {
            $($(#[$attr:meta])* $setting:ident: $setting_type:ty $(as $argument:ty)? = $default:expr),* $(,)?
        })?
        $(, methods: { $($methods:tt)* })?
        $(,)?
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[non_exhaustive]
        pub struct $config {
            $(#[$location_attr])*
            pub $location: $location_type,
            $($($(#[$attr])* pub $setting: $setting_type,)*)?
        }

        impl $config {
            /// Creates the configuration of the store at this place.
            pub fn new($location: impl ::core::convert::Into<$location_type>) -> Self {
                Self { $location: $location.into(), $($($setting: $default,)*)? }
            }

            $($(
                /// Sets the field of this name.
                #[must_use]
                pub fn $setting(
                    mut self,
                    $setting: impl ::core::convert::Into<$crate::store_configs!(@argument $setting_type $(, $argument)?)>,
                ) -> Self {
                    let argument: $crate::store_configs!(@argument $setting_type $(, $argument)?) = $setting.into();
                    self.$setting = argument.into();
                    self
                }
            )*)?

            $($($methods)*)?
        }

        #[::typetag::serde(name = $type)]
        impl $config_trait for $config {
            fn open(&self) -> $crate::Result<::std::sync::Arc<dyn $store_trait>> {
                let open: fn(&Self) -> $crate::Result<_> = $open;
                ::core::result::Result::Ok(::std::sync::Arc::new(open(self)?))
            }

            fn reach(&self) -> $crate::store::Reach {
                $reach
            }

            fn resolve(&mut self, directory: &::std::path::Path) {
                $crate::store::kit::Location::resolve(&mut self.$location, directory);
            }
        }
    };
    (@argument $setting:ty) => { $setting };
    (@argument $setting:ty, $argument:ty) => { $argument };
}
