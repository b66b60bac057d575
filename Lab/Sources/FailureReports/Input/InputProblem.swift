// Why a file cannot be examined.

/// What makes an input unusable.
package enum InputProblem: Error, Equatable, Sendable, CustomStringConvertible {
  /// It could not be opened or read; the system's words.
  case unreadable(String)
  case directory
  case empty
  /// It is no text; what it seems to be.
  case binary(String)
  /// A line is longer than any log's; its number.
  case endlessLine(Int)
  /// It is text, but no log of a kernel and no table of /proc.
  case unrelated

  package var description: String {
    switch self {
    case .unreadable(let reason): "cannot be read: \(reason)"
    case .directory: "is a directory; name the files in it"
    case .empty: "is empty"
    case .binary(let kind): "is no text: \(kind)"
    case .endlessLine(let number):
      "line \(number) is longer than \(LineReader.greatestLineLength >> 20) MiB, so this is no log"
    case .unrelated: "has no report of a failed allocation and no reading of /proc"
    }
  }
}
