"""Pictures and video segments on the machines of a Ray cluster.

    jobs, missing segments ─ work ─┬─ worker (one engine) ─┬─ results ─ files, journal
                                   └─ worker (one engine) ─┘

    client     the one import of Ray; connecting to a cluster
    work       tasks to workers: one at a time each, again where a worker was lost
    workers    what runs on the machines of the cluster
    pictures   a folder of pictures
    video      the segments of a video

A worker is a Ray actor that opens the engine once. It reads sources and writes results by itself, so engine bundle,
sources and outputs must have the same paths on all machines, and nstopt must be installed there.
"""
