// Interruption by Ctrl-C or by the loss of the output's reader: the command ends after the programs that it has started.

import Dispatch
import Foundation
import ImageTools

/// Ends a piece of work, and then the process, at a signal to end.
struct Interruption {
  private let sources: [any DispatchSourceSignal]

  /// Watches for SIGINT (Ctrl-C), SIGTERM, and SIGHUP (a closed terminal).
  ///
  /// Cancelling the work ends the programs that it waits for; the process continues until they have ended. Other work is
  /// not completed.
  init(of work: Task<Void, any Error>) {
    // A failed write reports it too, and the signal would leave programs behind.
    signal(SIGPIPE, SIG_IGN)
    sources = [SIGINT, SIGTERM, SIGHUP].map { number in
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number)
      source.setEventHandler {
        work.cancel()
        while RunningPrograms.count > 0 { usleep(1000) }
        LiveView.restoreTerminal()
        // Starts a line below that of a step in progress.
        if Terminal.isInteractive { Terminal.line() }
        let lost = Terminal.lostOutputCode.load(ordering: .relaxed)
        exit(lost != 0 ? lost : 128 + number)
      }
      source.resume()
      return source
    }
  }
}
