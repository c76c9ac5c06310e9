"""A search told to the trackers people have: Weights & Biases, MLflow, TensorBoard.

`spec` (what the command line asks for), `facts` (what a tracker is told), `feed` (a thread each,
so that none can slow or end a search), `watch` (the observer), and a file for each tool, whose own
client speaks to it. Optuna's callbacks for them do not fit: they are told of a trial
when it has ended, once; here a trial is looked at several times, and the ledger decides.
"""
