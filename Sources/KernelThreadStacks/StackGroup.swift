// Groups of threads whose stacks are charged together, up to a limit: names, figures and refusals.

import KernelMachine

/// Names a group of threads that share a limit on stack memory.
///
/// The number of a group that was removed may be given to another.
public struct StackGroupID: Equatable, Hashable, Sendable {
  /// The group's number, from 0.
  public let index: Int

  /// Wraps a group's number.
  public init(_ index: Int) { self.index = index }
}

/// What is charged to a group.
public struct StackGroupFigures: Equatable, Sendable {
  /// The page frames behind stacks of the group that are in use.
  public let chargedFrames: Int
  /// How many there may be before stacks are refused.
  public let limitFrames: Int
  /// How many stacks have been refused.
  public let refusals: Int

  /// Figures of a group.
  public init(chargedFrames: Int, limitFrames: Int, refusals: Int) {
    self.chargedFrames = chargedFrames
    self.limitFrames = limitFrames
    self.refusals = refusals
  }
}

/// Why a group got no more stack memory: what was asked, what it has, what it may have.
public struct StackGroupRefusal: Equatable, Sendable, TextDescribable {
  /// The group.
  public let group: StackGroupID
  /// How many page frames were asked for.
  public let requestedFrames: Int
  /// How many were charged to it; more than the limit if stacks have grown beyond it.
  public let chargedFrames: Int
  /// How many it may have.
  public let limitFrames: Int

  /// A refusal with its figures.
  public init(group: StackGroupID, requestedFrames: Int, chargedFrames: Int, limitFrames: Int) {
    self.group = group
    self.requestedFrames = requestedFrames
    self.chargedFrames = chargedFrames
    self.limitFrames = limitFrames
  }

  /// Writes, for example, `16 KiB of stack for group 3 refused: 1008 KiB of its 1020 KiB are in use`.
  public func write<Sink: TextSink>(to sink: inout Sink) {
    sink.write("%d KiB of stack for group %d", requestedFrames &* 4, group.index)
    sink.write(" refused: %d KiB of its %d KiB are in use", chargedFrames &* 4, limitFrames &* 4)
  }
}

#if !hasFeature(Embedded)
  extension StackGroupRefusal: CustomStringConvertible {}
#endif
