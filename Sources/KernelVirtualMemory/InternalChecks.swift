// The failure of an invariant check; without `INTERNAL_CHECKS` these functions do nothing.

/// Stops, when invariant checks are compiled in.
func _checkFailed(_ what: StaticString) {
  #if INTERNAL_CHECKS
    #if hasFeature(Embedded)
      fatalError()
    #else
      fatalError("\(what)")
    #endif
  #endif
}

/// Stops when `condition` does not hold and invariant checks are compiled in.
func _check(_ condition: @autoclosure () -> Bool, _ what: StaticString) {
  #if INTERNAL_CHECKS
    if !condition() { _checkFailed(what) }
  #endif
}
