/* SPDX-License-Identifier: BSD-2-Clause
 *
 * The PCI bus of a machine that has one (chip/pci.h), for a guest that looks
 * for it here: bus 0, all ports but those of configuration, and the hole below
 * 4 GiB. No function has an interrupt pin, so there is no routing of any.
 */
DefinitionBlock ("", "SSDT", 2, "VHDTK ", "HVPCI   ", 1)
{
	Scope (\_SB)
	{
		Device (PCI0)
		{
			Name (_HID, EisaId ("PNP0A03"))
			Name (_UID, Zero)
			Name (_CRS, ResourceTemplate ()
			{
				WordBusNumber (ResourceProducer, MinFixed,
					MaxFixed, PosDecode,
					0, 0, 0, 0, 1)
				IO (Decode16, 0x0CF8, 0x0CF8, 1, 8)
				WordIO (ResourceProducer, MinFixed, MaxFixed,
					PosDecode, EntireRange,
					0, 0x0000, 0x0CF7, 0, 0x0CF8)
				WordIO (ResourceProducer, MinFixed, MaxFixed,
					PosDecode, EntireRange,
					0, 0x0D00, 0xFFFF, 0, 0xF300)
				DWordMemory (ResourceProducer, PosDecode,
					MinFixed, MaxFixed, NonCacheable,
					ReadWrite,
					0, 0xC0000000, 0xFEBFFFFF, 0,
					0x3EC00000)
			})
		}
	}
}
