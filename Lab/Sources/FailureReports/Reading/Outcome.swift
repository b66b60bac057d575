// What came of reading a message.

/// A construct that was looked for in a message.
enum Outcome<Value> {
  /// It is not there.
  case absent
  /// It is there, whole and free of contradictions.
  case read(Value)
  /// It is there, but cut off or mixed with something else.
  case damaged(Damage)
}

/// A part of a report that is not believed.
package struct Damage: Equatable, Sendable {
  /// The line of the file.
  package var line: Int
  /// What it is: a noun phrase with the reason.
  package var what: String
  /// The zone that it is about, if that is known.
  package var zone: String?
}
