"""Training on Hugging Face's machines (Jobs), with the person's own token, watched from here.

    launch    what runs there and what it costs: started and cancelled
    work      what the job does: trains, and sends the run to the repository on the way
    follow    the run directory here, kept like the one there

One repository of the person's own carries everything: `source.zip`, this very program; `run/`, the
run directory as it grows; and at the end the model with its card, as `gan.publish` makes it.
"""
