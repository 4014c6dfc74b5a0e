//! Bugs that can be switched on in the simulated kernel, to see that the comparison with Linux
//! finds them.

/// A bug of the simulation; for its own tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it, and nobody else needs them")]
pub enum Planted {
    AnEdgeIsReportedTwice,
    TheLastReadyIsReportedFirst,
    EventsBeyondTheRoomAreLost,
    AChangedWatchReportsNothing,
    AnyWakeReachesEveryWatch,
    TheEndComesBeforeTheLastBytes,
    AResetTakesWhatWasReceived,
    AnErrorStaysWhenAsked,
    ABacklogHoldsOneLess,
    UnreadBytesEndInOrder,
    APeekTakesWhatItSees,
    AConnectedSocketConnectsAgain,
    ADatagramKeepsItsRest,
    AnUnreachablePortIsSilent,
    AConnectedDatagramSocketHearsStrangers,
    TheUrgentByteStaysInTheStream,
    AReadPassesTheMark,
}

impl Planted {
    /// All of them.
    pub const ALL: [Planted; 17] = [
        Planted::AnEdgeIsReportedTwice,
        Planted::TheLastReadyIsReportedFirst,
        Planted::EventsBeyondTheRoomAreLost,
        Planted::AChangedWatchReportsNothing,
        Planted::AnyWakeReachesEveryWatch,
        Planted::TheEndComesBeforeTheLastBytes,
        Planted::AResetTakesWhatWasReceived,
        Planted::AnErrorStaysWhenAsked,
        Planted::ABacklogHoldsOneLess,
        Planted::UnreadBytesEndInOrder,
        Planted::APeekTakesWhatItSees,
        Planted::AConnectedSocketConnectsAgain,
        Planted::ADatagramKeepsItsRest,
        Planted::AnUnreachablePortIsSilent,
        Planted::AConnectedDatagramSocketHearsStrangers,
        Planted::TheUrgentByteStaysInTheStream,
        Planted::AReadPassesTheMark,
    ];
}
