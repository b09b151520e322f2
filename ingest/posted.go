package ingest

// callKey gives the key of the call that posted telemetry belongs to. A platform
// that once said which SIP call its own id stands for is understood from then
// on, also where only its id is given.
func (in *Ingester) callKey(company, callID, sipCallID string) string {
	in.live.mu.Lock()
	seen := in.live.correlator.Posted(company, callID, sipCallID, in.now().UnixMicro())
	in.live.mu.Unlock()
	if len(seen.Fresh) > 0 {
		in.shareBindings(seen.Fresh)
	}
	in.live.emit(seen.Released, in.droppingSink())
	return seen.Call.Key
}
