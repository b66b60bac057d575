// Replays a trace of the simulated machine: each line of the input is a transition of reserve.pml that has to be possible
// where it stands. It uses the same inlines, so the relation that the models explore is the one that code is held to.
//
// Each event is four characters: a letter, then CPU, thread and count as characters from '0' on. `Z` ends a trace.
// `spin -T -DCPUS=… -DTHREADS=… replay.pml` reads it from the standard input.
//
// The pool counts as part of the frame source, and that has no end: a trace does not say who else takes frames.

#define REPLAY
#define DEPTHS
#define COUNT short
#define POOL 0
#include "reserve.pml"

chan STDIN;
int letter, c, t, k, event;

#define possible(transition) if :: transition :: else -> goto rejected fi

init {
  start();
next:
  STDIN?letter;
  if
  :: letter == 10 -> goto next
  :: letter == 90 -> goto accepted
  :: else -> event++; STDIN?c; c = c - 48; STDIN?t; t = t - 48; STDIN?k; k = k - 48
  fi;
  if
  :: letter == 'F' ->   /* the reserve at the beginning */
     source = source - k; reserve[c] = k
  :: letter == 'C' ->   /* considered, out of the queue k */
     if
     :: place[t] == waiting -> possible(considerFirst(c, t))
     :: else -> possible(consider(c, k, t))
     fi
  :: letter == 'A' ->   /* whether it takes frames for it */
     if
     :: k == 0 || allowed[c] -> allowed[c] = k
     :: else -> goto rejected
     fi
  :: letter == 'R' ->
     do
     :: k > 0 -> k--; possible(refillFromSource(c))
     :: else -> break
     od
  :: letter == 'O' ->
     if
     :: candidate[c] == t -> possible(putOff(c))
     :: else -> goto rejected
     fi
  :: letter == 'S' ->
     if
     :: candidate[c] == t -> possible(switchIn(c))
     :: else -> goto rejected
     fi
  :: letter == 'L' ->   /* left, ready, k pages live */
     if
     :: current[c] == t && k <= mapped[t] -> leaveReady(c, k)
     :: else -> goto rejected
     fi
  :: letter == 'D' ->   /* left, asleep, k pages live */
     if
     :: current[c] == t && k <= mapped[t] -> leaveAsleep(c, k)
     :: else -> goto rejected
     fi
  :: letter == 'W' -> possible(wake(c, t))
  :: letter == 'I' ->
     if
     :: reserve[c] == k -> possible(releaseReserve(c))
     :: else -> goto rejected
     fi
  :: letter == 'G' ->
     if
     :: current[c] == t -> possible(grow(c, k))
     :: else -> goto rejected
     fi
  :: letter == 'K' -> possible(claim(c, t))
  :: letter == 'E' -> possible(retire(t, k))
  :: letter == 'V' -> invalidate(c)
  :: letter == 'X' ->
     do
     :: k > 0 -> k--; possible(releasePage(t))
     :: else -> break
     od
  :: letter == 'P' ->
     if
     :: lifted[t] == k -> possible(putBack(t))
     :: else -> goto rejected
     fi
  :: letter == 'U' -> possible(unclaim(c, t))
  :: letter == 'Q' ->   /* what the code says of a reserve at the end */
     if
     :: reserve[c] == k
     :: else -> goto rejected
     fi
  :: letter == 'M' ->   /* … and of a stack */
     if
     :: mapped[t] == k
     :: else -> goto rejected
     fi
  :: else -> goto rejected
  fi;
  goto next;

rejected:
  printf("rejected: event %d (%c, CPU %d, thread %d, count %d)\n", event, letter, c, t, k);
  goto end;
accepted:
  printf("accepted: %d events\n", event);
end:
  skip
}
