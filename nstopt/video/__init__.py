"""Video: decode → net → encode, overlapped, in segments that survive a kill.

    clip      facts about a source: size, times of all frames, color, pixel format       clip, color, orientation
    segment   SEGMENT_FRAMES consecutive frames, the unit of work and of a resume        segments
    frames    read a segment, stylize it, write it to a file of its own                  decode, stylizer, encode
    pipeline  the three as threads with bounded channels between them                    channel, pipeline
    journal   the folder OUT.nstopt/ beside the output: finished segments, what they are journal
    assemble  segments joined without encoding them again, and the source's other tracks assemble, tracks
    stylize   all of it                                                                  stylize

**Stylizers.** The net's stage talks to a `FrameStylizer` (stylizer.py): `submit(picture)` begins a frame and returns an
object whose `result()` waits for it; results are taken in the order of submission, at most `in_flight` behind. A
stylizer that remembers former frames gives its memory as bytes: `state()` is called right after the last frame of each
segment was submitted, and is kept in the journal. `restore()` gets it before the segment after that one, where the
stylizer has not just done that one itself. So a resumed run equals an uninterrupted one. `identity` names everything
but the frames that its results depend on; a journal is only continued by a stylizer of the same identity.

**Workers.** `plan.plan_video` makes a `VideoPlan` (clip, segments, encoding), which can be pickled.
`pipeline.stylize_segment(plan, number, stylizer, path, state)` stylizes one segment to a file and returns its
`SegmentResult`; any process that sees the source may call it, in any order for a stylizer without state. Segments are
encoded independently of each other, in one process too, so the result does not depend on who made which.
"""
