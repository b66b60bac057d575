// Replays a trace of simulated CPUs and their allocator of frames: each line of the input is a step of frames.pml, by the
// same inlines, that has to be possible where it stands.
//
// Each event is a letter and three numbers of two characters each, sixteens and ones from '0' on: CPU, list or count, frame.
// `spin -T -DCPUS=… -DFRAMES=… -DPOOL=… clearing-replay.pml` reads it from the standard input; `Z` ends a trace.

#define REPLAY
#define ABSENT 0
#define LIMIT  32
#define MOST   16
#define SPILL  spilled   /* a batch, or what is of one aligned batch less */
byte left, spilled;
inline nextWanted() { number(wanted); left-- }
#include "frames.pml"

chan STDIN;
short event, letter, in;
byte c, a, f = NONE, k, n, wf, wc;
bool cleared, isDirty, isPairWanted, drained;

inline number(into) { STDIN?in; into = in - 48; STDIN?in; into = into * 16 + in - 48 }

#define demand(what) if :: what :: else -> goto rejected fi

init {
  for (k : 0 .. FRAMES - 1) { tag[k] = block; dirty[k] = true; next[k] = NONE }
  freeFrames = FRAMES; k = 0;
again:
  STDIN?letter;
  if
  :: letter == 10 -> goto again
  :: letter == 90 -> goto accepted
  :: else -> event++; number(c); number(a); number(wanted)
  fi;
  /* Who waits in a pause does nothing else. */
  demand((!pausing[c] || letter == 'b'));
  if
  :: letter == 'S' -> demand((mayClear && tag[wanted] == block)); startClearing(wanted)
  :: letter == 'C' ->
     if
     :: given[wanted] -> dirty[wanted] = false   /* by the request that has got it */
     :: else -> clear(wanted)
     fi
  :: letter == 'E' -> demand((clearing > 0 && tag[wanted] == listed && !given[wanted] && !dirty[wanted])); publish(wanted)
  :: letter == 'B' -> startPause(c); seePause(c)
  :: letter == 'b' ->   /* nothing has changed under the lock */
     if
     :: pausing[c] -> seePause(c)
     :: else
     fi
  :: letter == 'R' -> demand((paused > 0)); resumeClearing(c)
  :: letter == 'F' -> left = a; fillReady(c)
  :: letter == 'Y' -> fillZeroed(c)
  :: letter == 'G' -> demand((count[ready(c)] >= LIMIT && a > 0 && a <= MOST)); spilled = a; giveBatchBack(c)
  :: letter == 'D' -> demand((count[pool] > 0)); mergePool(c)
  :: letter == 'J' -> demand((count[ready(a)] + count[zeroed(a)] > 0)); mergeLists(c, a)
  :: letter == 'K' -> isPairWanted = a; takeBlock(c)
  :: letter == 'T' -> demand((paused > 0)); isPairWanted = a; takeLast(c)
  :: letter == 'L' ->
     demand((whole[wanted / 2] && tag[wanted] == used));
     gave(wanted); gave(wanted + 1); tag[wanted] = block; tag[wanted + 1] = block;
     freeFrames = freeFrames + 2; whole[wanted / 2] = false; checkNode()
  :: letter == 'p' -> demand((a / 2 == c && count[a] > 0)); pop(a); demand((f == wanted))
  :: letter == 'u' -> demand((tag[wanted] == listed && count[ready(c)] < LIMIT)); f = wanted; push(ready(c))
  :: letter == 'h' ->
     demand((given[wanted] && tag[wanted] == listed)); tag[wanted] = used; whole[wanted / 2] = a
  :: letter == 'o' ->   /* its owner has it, and writes into it */
     demand((tag[wanted] == used && (!a || !dirty[wanted]))); dirty[wanted] = true
  :: letter == 'g' -> demand((tag[wanted] == used && !whole[wanted / 2] && dirty[wanted])); tag[wanted] = listed
  :: letter == 'Q' -> demand((count[a] == wanted))   /* what the code says at the end */
  :: letter == 'N' -> demand((freeFrames == wanted && clearing == 0 && pauses == 0 && paused == 0))
  :: else -> goto rejected
  fi;
  f = NONE; isPairWanted = false; drained = false;
  goto again;

rejected:
  printf("rejected: event %d (%c, CPU %d, %d, frame %d)\n", event, letter, c, a, wanted);
  goto finished;
accepted:
  printf("accepted: %d events\n", event);
finished:
  skip
}
