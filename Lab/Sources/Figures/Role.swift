// Colours by their meaning, on light and dark pages.

/// The meaning of a colour.
public enum Role: String, CaseIterable, Sendable {
  // The page.
  case page, panel, grid, axis, muted, text, accent
  // Uses of page frames.
  case reserved, free, ballast, stack, userMemory, pageTable, taskRecord, vmallocArea, metadata, absent
  // Strategies.
  case linear, vmalloc, growing, linux
  // Parts of a cost.
  case hardware, saving, work

  /// The colour on a light page and the colour on a dark one.
  var colours: (light: String, dark: String) {
    switch self {
    case .page: ("#ffffff", "#12151a")
    case .panel: ("#f5f6f8", "#1a1e25")
    case .grid: ("#e3e6ea", "#2b313b")
    case .axis: ("#9aa3af", "#5b6573")
    case .muted: ("#5c6673", "#98a2b0")
    case .text: ("#161a20", "#edf0f4")
    case .accent: ("#c23b22", "#ff8a65")
    case .reserved: ("#5f6774", "#8b94a3")
    case .free: ("#8ad6a4", "#3f9b68")
    case .ballast: ("#d3d7dd", "#363d48")
    case .stack: ("#e5532d", "#ff7a4d")
    case .userMemory: ("#4c86d1", "#6aa6ee")
    case .pageTable: ("#e3a812", "#f2c14b")
    case .taskRecord: ("#9560c4", "#bd92e6")
    case .vmallocArea: ("#1d9c9c", "#4fc7c7")
    case .metadata: ("#8c6b4f", "#b8967a")
    case .absent: ("#ffffff", "#12151a")
    case .linear: ("#6b7480", "#a3adba")
    case .vmalloc: ("#2563c9", "#74a8f7")
    case .growing: ("#0f8a54", "#4fcf92")
    case .linux: ("#b0662a", "#e2a066")
    case .hardware: ("#7a8594", "#8792a1")
    case .saving: ("#7fa8e0", "#4d7fc4")
    case .work: ("#0f8a54", "#4fcf92")
    }
  }

  /// The style rules of all colours: class `f-ROLE` fills, class `s-ROLE` strokes.
  public static let styleSheet: String = {
    func rules(_ colour: (Role) -> String) -> String {
      allCases.map { ".f-\($0){fill:\(colour($0))}.s-\($0){stroke:\(colour($0));fill:none}" }.joined()
    }
    return """
      svg{font-family:ui-sans-serif,system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif}\
      .bold{font-weight:650}.dashed{stroke-dasharray:4 4}\
      \(rules { $0.colours.light })\
      @media(prefers-color-scheme:dark){\(rules { $0.colours.dark })}
      """
  }()
}

extension FrameUse {
  /// The colour of its frames in a picture.
  public var role: Role {
    switch self {
    case .reserved: .reserved
    case .free: .free
    case .ballast: .ballast
    case .stack: .stack
    case .userMemory: .userMemory
    case .pageTable: .pageTable
    case .taskRecord: .taskRecord
    case .vmalloc: .vmallocArea
    case .metadata: .metadata
    case .absent: .absent
    }
  }
}
